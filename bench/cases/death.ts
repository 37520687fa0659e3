// A holder is killed: how long until its slice is free for the next one.
import { LessorError } from '../../src/base/errors.js';
import { connect, type EventRecord } from '../../src/client/index.js';
import { createOs } from '../../src/os/index.js';
import { BenchBroker } from '../broker.js';
import type { BenchCase, BenchContext, Figure } from '../case.js';
import type { Sampler } from '../floor.js';
import { summarize } from '../statistics.js';

const rows = ['lease/death to free p99'] as const;
const holdersPerRound = 10;
const rounds = 5;
const waitMs = 5000;

/** Kills the holder; milliseconds from its pidfd being readable to the end of its lease. */
async function killAndTime(holder: Sampler, ended: Promise<number>): Promise<number> {
  const { processes } = createOs();
  const pidfd = processes.openPidfd(holder.pid);
  try {
    const exited = new Promise<number>((resolve) => {
      processes.onExit(pidfd, () => resolve(performance.now()));
    });
    holder.signal('SIGKILL');
    const [exitMs, endMs] = await Promise.all([exited, ended]);
    // The event can come first: the broker watches the same pidfd.
    return Math.max(0, endMs - exitMs);
  } finally {
    pidfd.close();
  }
}

async function run({ floors, say }: BenchContext): Promise<Figure[]> {
  await using broker = await BenchBroker.start(floors);
  const client = await connect({ socket: broker.socketPath });
  const waiting = new Map<string, (atMs: number) => void>();
  const monitor = client.monitor((event: EventRecord) => {
    if (event.type === 'ended') waiting.get(event.lease ?? '')?.(performance.now());
  });
  const samples: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      const holders = Array.from({ length: holdersPerRound }, () =>
        floors.child('lease-holder', [broker.socketPath]),
      );
      const ids: string[] = [];
      for (const holder of holders) ids.push(await holder.line());
      for (const [index, holder] of holders.entries()) {
        const ended = new Promise<number>((resolve, reject) => {
          waiting.set(ids[index]!, resolve);
          const late = new LessorError('DEADLINE_EXCEEDED', 'a lease outlived its holder');
          AbortSignal.timeout(waitMs).addEventListener('abort', () => reject(late));
        });
        samples.push((await killAndTime(holder, ended)) * 1e6);
        await holder[Symbol.asyncDispose]();
      }
    }
  } finally {
    monitor.close();
    client.close();
  }
  const summary = summarize(samples);
  return [
    {
      name: rows[0],
      value: summary.p99 / 1e6,
      unit: 'ms',
      target: { valueMax: 10 },
      note: `after the pidfd is readable; p50 ${(summary.p50 / 1e6).toPrecision(3)} ms, ${summary.count} samples`,
    },
  ];
}

export const death: BenchCase = { name: 'death of a holder', rows, run };
