// `npm run bench`: every case beside its floor, as ratios. Table or JSON on stdout, the rest on
// stderr. Exits non-zero only when something could not be measured; misses are printed.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchContext, type Judged, runCase, selectCases } from './case.js';
import { cases } from './cases/index.js';
import { FloorTools } from './floor.js';
import { describeMachine, type Machine } from './machine.js';
import { parseOptions, usage } from './options.js';
import { repositoryRoot } from './paths.js';
import { formatJson, formatMisses, formatRecord, formatTable } from './report.js';

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function record(results: readonly Judged[], machine: Machine): void {
  const folder = join(repositoryRoot, 'dist', 'bench');
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'results.json'), formatRecord(results, machine));
  } catch (error) {
    say(`bench: results were not kept: ${error instanceof Error ? error.message : error}`);
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (typeof options === 'string') {
    say(`bench: ${options}\n${usage}`);
    return 2;
  }
  const selected = selectCases(cases, options.filter);
  if (selected.length === 0) {
    say('bench: no row matches; --list shows them');
    return 2;
  }
  if (options.list) {
    process.stdout.write(`${selected.flatMap((one) => one.rows).join('\n')}\n`);
    return 0;
  }
  const machine = describeMachine();
  say(
    `lessor bench   ${machine.cpu}, ${machine.cpus} CPUs, load ${machine.load}, ` +
      `Linux ${machine.kernel}, Node ${machine.node}, ${machine.commit}`,
  );
  const results: Judged[] = [];
  using floors = new FloorTools();
  const context: BenchContext = { floors, say: (line) => say(`  ${line}`) };
  for (const one of selected) {
    say(one.name);
    results.push(...(await runCase(one, options.filter, context)));
  }
  record(results, machine);
  process.stdout.write(options.json ? formatJson(results) : `${formatTable(results)}\n`);
  for (const line of formatMisses(results)) say(line);
  const failures = results.filter(({ failure }) => failure !== undefined);
  for (const { row, failure } of failures) say(`could not run: ${row.name}: ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = await main();
