// Takes every check of src/vfio-user away, one by one, and says which test fails without it:
// npm run test:mutation [-- part of a file's name]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootPath } from '../tools/root.js';
import { allMutations, makeCopy } from './copy.js';
import { counts, keyOf, mutationPage, type Row } from './page.js';
import { runRules } from './run-rules.js';
import { killerInSuites, suiteReach } from './run-suites.js';
import { unreachable } from './unreachable.js';

const pagePath = 'docs/internals/vfio-user-mutations.md';

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function judge(folder: string, filter: string | undefined): Promise<readonly Row[]> {
  const { mutations, code } = allMutations();
  makeCopy(folder, code);
  const chosen = mutations.filter(({ file }) => filter === undefined || file.includes(filter));
  const numbers = chosen.map(({ number }) => number);
  // Every other one for each of two processes; where the suites reach is found out meanwhile.
  const [even, odd, reach] = await Promise.all([
    runRules(
      folder,
      numbers.filter((_, index) => index % 2 === 0),
    ),
    runRules(
      folder,
      numbers.filter((_, index) => index % 2 === 1),
    ),
    suiteReach(folder),
  ]);
  const verdicts = new Map([...even, ...odd]);
  const reasons = new Map(unreachable.map(({ key, reason }) => [key, reason]));
  const open = chosen.filter(({ number }) => verdicts.get(number)?.killedBy === undefined);
  say(`${chosen.length} checks, ${chosen.length - open.length} killed by rules`);
  const bySuite = new Map<number, string | undefined>();
  const left = [...open];
  const judgeLeft = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const files = reach.get(next.number) ?? [];
      const killedBy = await killerInSuites(folder, next.number, files);
      bySuite.set(next.number, killedBy);
      const verdict = killedBy ?? `SURVIVED ${files.length} files`;
      say(`${next.file}:${next.line} ${next.kind} ${next.text} -> ${verdict}`);
    }
  };
  await Promise.all([judgeLeft(), judgeLeft(), judgeLeft(), judgeLeft()]);
  return chosen.map((mutation) => {
    const killedBy = verdicts.get(mutation.number)?.killedBy ?? bySuite.get(mutation.number);
    return {
      mutation,
      killedBy,
      reason: killedBy === undefined ? reasons.get(keyOf(mutation)) : undefined,
    };
  });
}

function complaints(rows: readonly Row[], isWhole: boolean): string[] {
  const survivors = rows.filter(
    ({ killedBy, reason }) => killedBy === undefined && reason === undefined,
  );
  const found = survivors.map(
    ({ mutation }) =>
      `SURVIVED ${mutation.file}:${mutation.line} ${mutation.kind} ${mutation.text}`,
  );
  if (!isWhole) return found;
  const excused = new Set(
    rows.filter(({ reason }) => reason !== undefined).map(({ mutation }) => keyOf(mutation)),
  );
  const stale = unreachable.filter(({ key }) => !excused.has(key));
  return [...found, ...stale.map(({ key }) => `no longer unreachable: ${key}`)];
}

const [filter] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'lessor-mutation-'));
try {
  const rows = await judge(folder, filter);
  if (filter === undefined) writeFileSync(rootPath(pagePath), mutationPage(rows));
  const wrong = complaints(rows, filter === undefined);
  for (const line of wrong) say(line);
  say(counts(rows));
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
