// What a client of the demo can do with its lease. Everything here uses the public SDK alone.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLessorError, isOsError, LessorError } from '../base/errors.js';
import { connect } from '../client/index.js';
import type { Lease } from '../client/lease.js';
import type { LeaseMemory } from '../client/lease-memory.js';
import { Queue } from '../client/mqdma/index.js';
import type {
  AcquiredAnswer,
  AskAnswer,
  DemoCalls,
  ForeignAnswer,
  ForeignCopy,
  SpinAnswer,
  WorkAnswer,
} from './client-calls.js';
import { type Percentiles, percentilesOf } from './report.js';
import { runWork } from './work.js';

const dataBytes = 4 * 1024 * 1024;
/** Of the rounds that are measured, a tenth goes before. */
const warmUpShare = 0.1;
/** A value no register of the status page has while the lease lives. */
const allOnes = 0xffff_ffff;

interface Held {
  readonly lease: Lease;
  readonly queue: Queue;
  readonly data: LeaseMemory;
}

function patternByte(seed: number, index: number): number {
  return (index * 31 + (index >>> 8) * 17 + seed * 101) & 0xff;
}

export class DemoClient implements DemoCalls {
  readonly #socket: string;
  #held: Held | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  get #mine(): Held {
    if (this.#held === undefined) throw new LessorError('LEASE_NOT_FOUND', 'no lease was taken');
    return this.#held;
  }

  async acquire(terms: { slice?: string; memoryBytes: number }): Promise<AcquiredAnswer> {
    this.#held = await this.#take(terms);
    const { lease, data } = this.#held;
    const { id, slice, iovaBase, iovaBytes, isolation, revocation } = lease.record;
    return {
      id,
      slice,
      iovaBase,
      iovaBytes,
      isolation,
      revocation,
      isMapped: lease.window('status').kind === 'mapped',
      dataIova: data.iova,
      dataBytes: data.lengthBytes,
    };
  }

  async paint(seed: number): Promise<void> {
    const { data } = this.#mine;
    for (let index = 0; index < data.lengthBytes; index += 1) {
      data.u8[index] = patternByte(seed, index);
    }
  }

  async hash(): Promise<string> {
    return createHash('sha256').update(this.#mine.data.u8).digest('hex');
  }

  /** Spinning on the completion in own memory: no system call, no message. */
  async roundTrip(rounds: number): Promise<Percentiles> {
    const { queue } = this.#mine;
    const samples = new Float64Array(rounds);
    for (let round = -Math.ceil(rounds * warmUpShare); round < rounds; round += 1) {
      const startMs = performance.now();
      const ticket = queue.submitNop();
      queue.ring();
      while (!queue.isDone(ticket)) queue.poll();
      if (round >= 0) samples[round] = (performance.now() - startMs) * 1000;
    }
    return percentilesOf(samples);
  }

  /** A second lease whose registers are reached by message alone. */
  async messageRoundTrip(rounds: number): Promise<Percentiles> {
    const held = await this.#take({ memoryBytes: 1024 * 1024, revocation: 'mediated' }, 4096);
    const samples = new Float64Array(rounds);
    for (let round = -Math.ceil(rounds * warmUpShare); round < rounds; round += 1) {
      const startMs = performance.now();
      await held.queue.nop();
      if (round >= 0) samples[round] = (performance.now() - startMs) * 1000;
    }
    await held.lease.close();
    return percentilesOf(samples);
  }

  work(plan: { operations: number; seed: number }): Promise<WorkAnswer> {
    const { queue, data } = this.#mine;
    return runWork(queue, data, plan);
  }

  async foreignCopy(copy: ForeignCopy): Promise<ForeignAnswer> {
    const { queue, data } = this.#mine;
    const before = data.u8.slice(0, copy.lengthBytes);
    const isRead = copy.direction === 'read';
    try {
      await queue.copy({
        source: isRead ? copy.iova : data.iova,
        destination: isRead ? data.iova : copy.iova,
        lengthBytes: copy.lengthBytes,
      });
      return { succeeded: true, bytesReceived: this.#changed(before) };
    } catch (error) {
      const answer = {
        succeeded: false,
        refusal: (error as Error).message,
        bytesReceived: this.#changed(before),
      };
      await queue.reset();
      return answer;
    }
  }

  async submit(lengthBytes: number): Promise<void> {
    const { queue, data } = this.#mine;
    queue.submitCopy(data.iova, data.iova + dataBytes / 2, lengthBytes);
    queue.ring();
  }

  async spin(limitMs: number): Promise<SpinAnswer> {
    const { lease } = this.#mine;
    const registers = lease.mappedWindow('status').u32;
    const untilMs = performance.now() + limitMs;
    let loads = 0;
    // The event loop does not turn in here: only the memory itself can tell.
    while (registers[0] !== allOnes) {
      loads += 1;
      if ((loads & 0xffff) === 0 && performance.now() > untilMs) break;
    }
    const seenAtNs = process.hrtime.bigint();
    return { seenAtNs, value: registers[0] ?? 0, loads };
  }

  async ask(limitMs: number): Promise<AskAnswer> {
    const window = this.#mine.lease.window('status');
    const untilMs = performance.now() + limitMs;
    try {
      while (performance.now() < untilMs) await window.read32(0);
    } catch (error) {
      const seenAtNs = process.hrtime.bigint();
      if (isLessorError(error)) return { seenAtNs, code: error.code };
      if (isOsError(error)) return { seenAtNs, code: error.errno };
      throw error;
    }
    return { seenAtNs: process.hrtime.bigint(), code: undefined };
  }

  async ended(): Promise<string> {
    return (await this.#mine.lease.ended).reason;
  }

  async close(): Promise<void> {
    await this.#held?.lease.close();
    this.#held = undefined;
    // Lets the answer out before the story goes on to count.
    await sleep(1);
  }

  #changed(before: Uint8Array): number {
    const { data } = this.#mine;
    let changed = 0;
    for (let index = 0; index < before.length; index += 1) {
      if (before[index] !== data.u8[index]) changed += 1;
    }
    return changed;
  }

  async #take(
    terms: { slice?: string; memoryBytes: number; revocation?: string },
    bytes: number = dataBytes,
  ): Promise<Held> {
    const client = await connect({ socket: this.#socket });
    try {
      const lease = await client.acquire(terms);
      const queue = await Queue.create(lease, { entries: 64, spinMicros: 50 });
      const data = await lease.memory.allocate(bytes);
      return { lease, queue, data };
    } finally {
      client.close();
    }
  }
}
