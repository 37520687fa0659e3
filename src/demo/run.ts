// The demo from beginning to end: three brokers one after the other, one isolation each.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  actAttack,
  actKill,
  actPositiveControl,
  actRevoke,
  actRoundTrips,
  actWork,
} from './acts.js';
import { type DemoReport, emptyReport, type LeakCount } from './report.js';
import { Stage } from './stage.js';
import { Story } from './story.js';

export interface DemoOptions {
  /** Leave the last broker running until a signal. */
  readonly hold: boolean;
  /** Have the broker lose a descriptor per lease, to prove that the count finds it. */
  readonly leakDescriptor: boolean;
}

type Policed = 'pasid' | 'device-bounds';

const says: Record<Policed, string> = {
  pasid: 'every client has its own address space',
  'device-bounds': 'one address space; the device checks the bounds of every queue',
};

/** Runs the whole story. @returns What was found; `ok` is false when any check failed. */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const story = new Story(false);
  const report = emptyReport();
  const directory = mkdtempSync(join(tmpdir(), 'lessor-demo-'));
  const uid = process.getuid?.() ?? 0;
  const cpus = availableParallelism();
  story.heading(
    `lessor demo   mqdma, emulated, 16 slices   Linux ${release()}, ${cpus} CPUs, uid ${uid}, no hardware`,
  );
  try {
    await runPoliced('pasid', directory, story, report, options);
    await runPoliced('device-bounds', directory, story, report, options);
    await runCooperative(directory, story, report, options);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  report.ok = report.failures.length === 0;
  for (const failure of report.failures) story.heading(`FAILED  ${failure}`);
  story.heading(report.ok ? 'everything held' : 'something did not hold');
  return report;
}

async function runPoliced(
  mode: Policed,
  directory: string,
  story: Story,
  report: DemoReport,
  options: DemoOptions,
): Promise<void> {
  const stage = await Stage.open(mode, directory, story, report, options);
  try {
    story.heading(
      `broker ${stage.broker.pid} owns the function. A, B, C, D are separate processes.`,
    );
    story.heading(`isolation ${mode}: ${says[mode]}`);
    await stage.countBefore();
    const a = await stage.enter('A');
    if (mode === 'pasid') await actRoundTrips(stage, a);
    const b = await stage.enter('B');
    const c = await stage.enter('C');
    await actWork(stage, [a, b, c]);
    await actAttack(stage, c, a);
    await actKill(stage, b, 'D');
    await actRevoke(stage, a);
    tellLeaks(story, report, await stage.countAfter());
    report.modes.push(mode);
  } finally {
    await stage.close();
  }
}

async function runCooperative(
  directory: string,
  story: Story,
  report: DemoReport,
  options: DemoOptions,
): Promise<void> {
  const stage = await Stage.open('cooperative', directory, story, report, options);
  try {
    story.heading('isolation cooperative: nobody polices; the same attack must succeed here');
    const a = await stage.enter('A');
    const c = await stage.enter('C');
    await actPositiveControl(stage, c, a);
    if (options.hold) await hold(stage);
  } finally {
    await stage.close();
  }
}

function tellLeaks(story: Story, report: DemoReport, leaks: LeakCount): void {
  const sum = { ...report.leaks };
  for (const key of Object.keys(sum) as (keyof LeakCount)[]) sum[key] += leaks[key];
  report.leaks = sum;
  story.line(
    '',
    `left over: ${leaks.fds} fds, ${leaks.mappings} mappings, ${leaks.iovaBytes} IOVA bytes, ` +
      `${leaks.pasids} PASIDs, ${leaks.processes} processes`,
  );
}

async function hold(stage: Stage): Promise<void> {
  stage.story.heading(`holding: lessor --socket ${stage.broker.socketPath} leases`);
  stage.story.heading('Ctrl-C ends it');
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}
