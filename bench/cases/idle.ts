// A broker with a thousand leases that nobody uses: CPU and memory it takes. And the time of the
// command that asks it how it is.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { KiB } from '../../src/base/units.js';
import { systemClock } from '../../src/os/index.js';
import { BenchBroker, lessorProgram } from '../broker.js';
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { describeSpread, sampleCalls } from '../interleave.js';
import { summarize } from '../statistics.js';

const rows = ['idle/CPU of 1000 leases', 'idle/memory of a lease', 'cli/status'] as const;
const leaseCount = 1000;
const idleMs = 5000;
/** USER_HZ of every Linux architecture that Node runs on. */
const ticksPerSecond = 100;
const statusCount = 10;

/** Seconds of CPU that a process has used, in user and kernel. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * KiB;
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(delayMs, resolve);
  });
}

async function run({ floors, say }: BenchContext): Promise<Figure[]> {
  await using broker = await BenchBroker.start(floors, ['--queues', '1024']);
  const before = residentBytes(broker.pid);
  say(`taking ${leaseCount} leases`);
  await using holder = floors.child('lease-holder', [broker.socketPath, String(leaseCount)]);
  await holder.line();
  await pause(1000);
  const leaseBytes = (residentBytes(broker.pid) - before) / leaseCount;
  const usedSeconds = cpuSeconds(broker.pid);
  const startMs = performance.now();
  await pause(idleMs);
  const seconds = (performance.now() - startMs) / 1000;
  const percent = ((cpuSeconds(broker.pid) - usedSeconds) / seconds) * 100;
  const status = ['--socket', broker.socketPath, 'status'];
  const run = promisify(execFile);
  const samples = await sampleCalls(statusCount, () =>
    run(process.execPath, [lessorProgram, ...status]),
  );
  const summary = summarize(samples);
  return [
    {
      name: rows[0],
      value: percent,
      unit: '%',
      target: { valueMax: 2 },
      note: `of one CPU, over ${Math.round(seconds)} s`,
    },
    {
      name: rows[1],
      value: leaseBytes / KiB,
      unit: 'KiB',
      target: { valueMax: 64 },
      note: 'resident memory of the broker, caches of V8 included',
    },
    {
      name: rows[2],
      value: summary.p50 / 1e6,
      unit: 'ms',
      target: { valueMax: 200 },
      note: `with ${leaseCount} leases, ${describeSpread(summary, 1e6, 'ms')}`,
    },
  ];
}

export const idle: BenchCase = { name: 'idle broker', rows, run };
