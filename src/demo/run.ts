// The demo from beginning to end: brokers one after the other, one isolation each.
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
import { borrowFunction } from './borrow.js';
import { BrokerProcess } from './broker-process.js';
import { type DemoReport, emptyReport, type LeakCount } from './report.js';
import { Stage, type StageOptions } from './stage.js';
import { Story } from './story.js';
import { emulatedVenue, functionVenue } from './venue.js';

export interface DemoOptions {
  /** A function that is there: a PCI address, or `vfio-user:PATH`. Undefined: an emulated one. */
  readonly source: string | undefined;
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
  const { source, leakDescriptor } = options;
  const venue = source === undefined ? emulatedVenue : functionVenue(source);
  const story = new Story(false);
  const report = emptyReport(source);
  const directory = mkdtempSync(join(tmpdir(), 'lessor-demo-'));
  const leave = leaveOnSignal(directory);
  story.heading(opening(source));
  try {
    await using _borrowed = source === undefined ? undefined : await borrowFunction(source, story);
    const stages = { directory, story, report, venue, leakDescriptor };
    await runStory(stages);
    for (const failure of report.failures) story.heading(`FAILED  ${failure}`);
    const isGood = report.failures.length === 0;
    story.heading(isGood ? closing(report) : 'something did not hold');
    leave[Symbol.dispose]();
    if (options.hold) await hold(stages);
  } finally {
    leave[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  }
  report.ok = report.failures.length === 0;
  return report;
}

function opening(source: string | undefined): string {
  const uid = process.getuid?.() ?? 0;
  const kernel = release().split('.', 2).join('.');
  const machine = `Linux ${kernel}, ${availableParallelism()} CPUs, uid ${uid}`;
  return source === undefined
    ? `lessor demo   mqdma, emulated, 16 slices   ${machine}, no hardware`
    : `lessor demo   mqdma, ${source}   ${machine}`;
}

function closing({ impossible }: DemoReport): string {
  return impossible.length === 0
    ? 'everything held'
    : `everything held of what can be shown here; ${impossible.length} cannot`;
}

async function runStory(stages: StageOptions): Promise<void> {
  if (stages.venue.source === undefined) {
    await runPoliced('pasid', stages);
    await runPoliced('device-bounds', stages);
  } else {
    // What the function can do, its first broker says.
    const hasPasids = await runPoliced('device-bounds', stages);
    if (hasPasids) await runPoliced('pasid', stages);
  }
  await runCooperative(stages);
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

/** @returns Whether the function has PASIDs for clients. */
async function runPoliced(mode: Policed, stages: StageOptions): Promise<boolean> {
  const { story, report } = stages;
  const stage = await Stage.open(mode, stages);
  try {
    story.heading(
      `broker ${stage.broker.pid} owns the function. A, B, C, D are separate processes.`,
    );
    story.heading(`isolation ${mode}: ${says[mode]}`);
    const { isFirst, pasidBits } = stage;
    if (pasidBits === 0) stage.impossible('isolation pasid', 'the function has no PASIDs');
    await stage.countBefore();
    const a = await stage.enter('A');
    if (isFirst) await actRoundTrips(stage, a);
    const b = await stage.enter('B');
    const c = await stage.enter('C');
    await actWork(stage, [a, b, c]);
    await actAttack(stage, c, a);
    await actKill(stage, b, 'D');
    await actRevoke(stage, a);
    tellLeaks(story, report, await stage.countAfter());
    report.modes.push(mode);
    return pasidBits > 0;
  } finally {
    await stage.close();
  }
}

async function runCooperative(stages: StageOptions): Promise<void> {
  const stage = await Stage.open('cooperative', stages);
  try {
    stages.story.heading(
      'isolation cooperative: nobody polices; the same attack must succeed here',
    );
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
async function hold(stages: StageOptions): Promise<void> {
  const { story, report } = stages;
  const [mode = 'device-bounds'] = report.modes as Policed[];
  const stage = await Stage.open(mode, stages);
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
