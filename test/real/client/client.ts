// A client of a case: takes a lease and does with it what it is asked.
import { createHash } from 'node:crypto';
import { isLessorError, isOsError } from '../../../src/base/errors.js';
import type { Client } from '../../../src/client/client.js';
import { connect } from '../../../src/client/index.js';
import type { Lease } from '../../../src/client/lease.js';
import type { LeaseMemory } from '../../../src/client/lease-memory.js';
import type { Aim, RealCalls, Sight, Taken, Terms } from './calls.js';
import { patterned, type Work, type Workshop } from './work.js';

interface Held {
  readonly lease: Lease;
  readonly data: LeaseMemory;
  readonly work: Work;
}

function errorWord(error: unknown): string {
  if (isLessorError(error)) return error.code;
  if (isOsError(error)) return error.errno;
  return String(error);
}

export class RealClient implements RealCalls {
  readonly #socket: string;
  readonly #workshop: Workshop;
  #client: Client | undefined;
  #held: Held | undefined;
  #working: Promise<string> | undefined;
  #stopping = false;

  constructor(socket: string, workshop: Workshop) {
    this.#socket = socket;
    this.#workshop = workshop;
  }

  get #mine(): Held {
    if (this.#held === undefined) throw new TypeError('no lease was taken');
    return this.#held;
  }

  async acquire(terms: Terms): Promise<Taken> {
    const { kind, memoryBytes, dataBytes, open } = this.#workshop;
    this.#client ??= await connect({ socket: this.#socket });
    const lease = await this.#client.acquire({ kind, memoryBytes, ...terms });
    const data = await lease.memory.allocate(dataBytes);
    this.#held = { lease, data, work: await open(lease, data) };
    const { id, slice, isolation, revocation, iovaBase, iovaBytes } = lease.record;
    const { iova: dataIova } = data;
    return { id, slice, isolation, revocation, iovaBase, iovaBytes, dataIova, dataBytes };
  }

  async refused(terms: Terms): Promise<string> {
    try {
      await this.acquire(terms);
    } catch (error) {
      return errorWord(error);
    }
    throw new TypeError('the lease was given');
  }

  async work(rounds: number): Promise<string> {
    for (let round = 0; round < rounds; round += 1) {
      const said = await this.#mine.work.round(round);
      if (said !== 'ok') return said;
    }
    return 'ok';
  }

  async startWork(): Promise<void> {
    this.#stopping = false;
    this.#working = this.#workOn();
  }

  async #workOn(): Promise<string> {
    for (let round = 0; !this.#stopping; round += 1) {
      try {
        const said = await this.#mine.work.round(round);
        if (said !== 'ok') return said;
      } catch (error) {
        return errorWord(error);
      }
    }
    return 'ok';
  }

  async stopWork(): Promise<string> {
    this.#stopping = true;
    return (await this.#working) ?? 'ok';
  }

  submit(): Promise<void> {
    return this.#mine.work.submit();
  }

  aim(aim: Aim): Promise<string> {
    return this.#mine.work.aim(aim);
  }

  async paint(seed: number): Promise<void> {
    patterned(this.#mine.data.u8, seed);
  }

  async hash(): Promise<string> {
    return createHash('sha256').update(this.#mine.data.u8).digest('hex');
  }

  async look(): Promise<Sight> {
    const { lease, work } = this.#mine;
    const reason = lease.closed ? (await lease.ended).reason : '';
    const startMs = performance.now();
    const window = lease.window(work.window);
    const read = window.kind === 'mapped' ? async () => window.u32[0]! : () => window.read32(0);
    const register = await read().catch(errorWord);
    return { closed: lease.closed, reason, register, tookMs: performance.now() - startMs };
  }

  async ended(): Promise<Sight> {
    await this.#mine.lease.ended;
    return this.look();
  }

  async close(): Promise<void> {
    await this.#held?.lease.close();
    this.#held = undefined;
    this.#client?.close();
    this.#client = undefined;
  }
}
