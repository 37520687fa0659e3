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
import { BrokerProcess } from './broker-process.js';
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
  const kernel = release().split('.', 2).join('.');
  const leave = leaveOnSignal(directory);
  story.heading(
    `lessor demo   mqdma, emulated, 16 slices   ` +
      `Linux ${kernel}, ${cpus} CPUs, uid ${uid}, no hardware`,
  );
  try {
    await runPoliced('pasid', directory, story, report, options);
    await runPoliced('device-bounds', directory, story, report, options);
    await runCooperative(directory, story, report, options);
    for (const failure of report.failures) story.heading(`FAILED  ${failure}`);
    const isGood = report.failures.length === 0;
    story.heading(isGood ? 'everything held' : 'something did not hold');
    leave[Symbol.dispose]();
    if (options.hold) await hold(directory, story, report, options);
  } finally {
    leave[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  }
  report.ok = report.failures.length === 0;
  return report;
}

/** Until disposed, a signal ends the demo, and the brokers with it. */
function leaveOnSignal(directory: string): Disposable {
  const leave = (): never => process.exit(1);
  // Also after an error that nobody caught.
  process.once('exit', () => {
    BrokerProcess.killAll();
    rmSync(directory, { recursive: true, force: true });
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, leave);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) process.removeListener(signal, leave);
    },
  };
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

/** Leaves a broker and three leases for the reader to look at. */
async function hold(
  directory: string,
  story: Story,
  report: DemoReport,
  options: DemoOptions,
): Promise<void> {
  const stage = await Stage.open('pasid', directory, story, report, options);
  const signalled = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  try {
    for (const name of ['A', 'B', 'C']) await stage.enter(name);
    story.heading(`holding: lessor --socket ${stage.broker.socketPath} leases`);
    story.heading('Ctrl-C ends it');
    await signalled;
  } finally {
    await stage.close();
  }
}
