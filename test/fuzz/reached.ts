// Which handlers the attack must have reached: each accepted something and refused something.
import { commandName } from '../../src/vfio-user/testing/rules/rule.js';
import type { Tally } from './tally.js';
import { tour } from './tour.js';

/** What a server executes. */
const commands = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 16, 17, 18];
/** Calls that can fail only with the connection never count as refused. */
const neverRefused = ['regionWritePosted', 'regionWriteMultiPosted'];

function isOk(outcome: string): boolean {
  return outcome === 'ok';
}

/** What was not reached, a line each. */
export function unreached(tally: Tally): string[] {
  const servers = commands.map((command) => `server ${commandName(command)}`);
  const clients = tour.map(({ name }) => `client ${name}`);
  const others = ['client VERSION', 'client dma', 'server dmaRead', 'server dmaWrite'];
  return [...servers, ...clients, ...others].flatMap((row) => {
    const missing: string[] = [];
    if (tally.count(row, isOk) === 0) missing.push(`${row} never accepted`);
    const isJudged = !neverRefused.some((name) => row.endsWith(` ${name}`));
    if (isJudged && tally.count(row, (name) => !isOk(name)) === 0)
      missing.push(`${row} never refused`);
    return missing;
  });
}
