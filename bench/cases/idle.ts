// A broker with a thousand leases that nobody uses: CPU and memory it takes. And the time of the
// command that asks it how it is.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { KiB } from '../../src/base/units.js';
import { systemClock } from '../../src/os/index.js';
import { BenchBroker, lessorProgram } from '../broker.js';
import type { BenchCase, BenchContext, Figure } from '../case.js';
import type { FloorTools } from '../floor.js';
import { describeSpread, interleave, sampleCalls } from '../interleave.js';
import type { Summary } from '../statistics.js';

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

/** How long a program under this Node takes. */
function timeProgram(words: readonly string[]): Promise<number[]> {
  return sampleCalls(1, () => promisify(execFile)(process.execPath, words));
}

/** The command, on a broker as it is by default, beside a bare Node. */
async function timeStatus(floors: FloorTools): Promise<Summary[]> {
  await using broker = await BenchBroker.start(floors);
  // Awaited here: the broker ends with this function.
  return await interleave(statusCount, [
    () => timeProgram([lessorProgram, '--socket', broker.socketPath, 'status']),
    () => timeProgram(['-e', '0']),
  ]);
}

async function run({ floors, say }: BenchContext): Promise<Figure[]> {
  const [status, bare] = await timeStatus(floors);
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
      value: status!.p50 / 1e6,
      unit: 'ms',
      floor: bare!.p50 / 1e6,
      target: { valueMax: 200 },
      note: `${describeSpread(status!, 1e6, 'ms')}; floor: node -e 0`,
    },
  ];
}

export const idle: BenchCase = { name: 'idle broker', rows, run };
