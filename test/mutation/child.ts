// Runs in the instrumented copy: takes one check away at a time and runs the rules that reach it,
// in memory, until one fails. Arguments: numbers of mutations. Prints a line of JSON for each.
import type { Rule } from '../../src/vfio-user/testing/rules/rule.js';
import { install, nothing, takeAway, takeReached } from './reach.js';

install();
const { protocolRules } = await import('../../src/vfio-user/testing/rules/all.js');
const { memoryWorld, setPatienceMs } = await import('../../src/vfio-user/testing/world.js');

/** What a rule that hangs is given; unbroken, each takes a few milliseconds. */
const patienceMs = 700;
/** With every check in place, on a machine that does other work, too. */
const wholePatienceMs = 20_000;
let stray: unknown;

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => {
    stray = error;
  });
}

/** Whether the rule fails, by itself or by an error that nobody catches. */
async function fails(rule: Rule): Promise<boolean> {
  stray = undefined;
  try {
    await rule.run(memoryWorld);
    await new Promise(setImmediate);
  } catch (error) {
    stray = error;
    return true;
  }
  return stray !== undefined;
}

/** Tried more than once: what was broken before may come to an end in between, noisily. */
async function holds(rule: Rule): Promise<boolean> {
  for (let left = 4; left > 0; left--) {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    if (!(await fails(rule))) return true;
  }
  return false;
}

async function reachOf(): Promise<Map<number, Rule[]>> {
  const reach = new Map<number, Rule[]>();
  takeAway(nothing);
  setPatienceMs(wholePatienceMs);
  for (const rule of protocolRules) {
    takeReached();
    if (await fails(rule)) {
      say({ broken: `${rule.id}: ${String(stray)}` });
      process.exit(1);
    }
    for (const number of takeReached()) reach.set(number, [...(reach.get(number) ?? []), rule]);
  }
  return reach;
}

async function killer(number: number, rules: readonly Rule[]): Promise<string | undefined> {
  for (const rule of rules) {
    takeAway(number);
    const failed = await fails(rule);
    takeAway(nothing);
    // Not because the machine was busy: with the check it holds.
    if (failed && (await holds(rule))) return rule.id;
    say({ passed: rule.id });
  }
  return undefined;
}

const reach = await reachOf();
setPatienceMs(patienceMs);
for (const argument of process.argv.slice(2)) {
  const number = Number(argument);
  say({ start: number });
  // Rules for the odd message first: they are what a check is for.
  const rules = reach.get(number) ?? [];
  const killedBy = await killer(number, [...rules].reverse());
  say({ done: number, killedBy, reachedBy: rules.length });
}
process.exit(0);
