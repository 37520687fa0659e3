// Runs the cases against a real QEMU. One line each on stdout, the sum last; exits with 1 when one
// failed. Words choose cases by parts of their names; `--record` renews the recorded vectors.
import { parseArgs } from 'node:util';
import { createOs } from '../../src/os/index.js';
import { type QemuTree, qemuTree } from '../tree/qemu-tree.js';
import { type Group, lastLine, type Sum } from './case.js';
import { groups } from './cases/index.js';
import { Lab } from './lab.js';
import { writeVectors } from './vectors/write.js';

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function describe(problem: unknown): string {
  const text = problem instanceof Error ? (problem.stack ?? problem.message) : String(problem);
  return text.replaceAll('\n', '\n       ');
}

function skipAll(chosen: readonly string[], problem: unknown, sum: Sum): void {
  const reason = problem instanceof Error ? problem.message : String(problem);
  print('!!!! NOT TESTED AGAINST QEMU: it cannot be had on this machine.');
  print(`!!!! ${reason}`);
  for (const name of chosen) print(`skip  ${name}`);
  sum.skipped += chosen.length;
}

async function runAll(tree: QemuTree, chosen: (name: string) => boolean, sum: Sum): Promise<Lab> {
  const lab = new Lab(createOs(), tree);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void lab.clear().finally(() => process.exit(1)));
  }
  for (const each of groups) {
    await each.run(lab, chosen, (name, elapsedMs, problem) => {
      const took = `(${(elapsedMs / 1000).toFixed(1)} s)`;
      if (problem === undefined) {
        sum.passed += 1;
        print(`ok    ${name} ${took}`);
        return;
      }
      sum.failed += 1;
      print(`FAIL  ${name} ${took}\n       ${describe(problem)}`);
      const complaints = lab.complaints();
      if (complaints !== '') print(`       ${complaints.replaceAll('\n', '\n       ')}`);
    });
  }
  return lab;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { record: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const isChosen = (name: string): boolean =>
    positionals.length === 0 || positionals.some((word) => name.includes(word));
  const names = groups.flatMap(({ caseNames }: Group) => caseNames).filter(isChosen);
  const sum: Sum = { passed: 0, failed: 0, skipped: 0 };
  let tree: QemuTree | undefined;
  try {
    tree = await qemuTree((text) => process.stderr.write(`interop: ${text}\n`));
  } catch (error) {
    skipAll(names, error, sum);
  }
  if (tree !== undefined) {
    print(`QEMU ${tree.version}`);
    const lab = await runAll(tree, isChosen, sum);
    if (values.record && sum.failed === 0) writeVectors(tree.version, lab.recordings);
  }
  print(lastLine(sum));
  process.exit(sum.failed === 0 ? 0 : 1);
}

await main();
