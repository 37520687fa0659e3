// What a client process of the tests does, with the public SDK alone.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert, isLessorError, isOsError } from '../../src/base/errors.js';
import type { AcquireRequest, Client } from '../../src/client/client.js';
import { connect } from '../../src/client/index.js';
import type { Lease } from '../../src/client/lease.js';
import type { LeaseMemory } from '../../src/client/lease-memory.js';
import { Queue } from '../../src/client/mqdma/index.js';
import { systemClock } from '../../src/os/clock.js';
import type { Fd } from '../../src/os/fd.js';
import { createOs } from '../../src/os/index.js';
import { VarlinkClient } from '../../src/varlink/client.js';
import type { AcquireReply } from '../../src/varlink/interface.js';
import type { ClientCalls, Refusal, Stopped, Taken, Terms } from './client-calls.js';

const dataBytes = 65_536;
const copyBytes = 4096;
const holderScript = fileURLToPath(new URL('./holder-child.js', import.meta.url));

interface Held {
  readonly lease: Lease;
  readonly queue: Queue;
  readonly data: LeaseMemory;
}

function requestOf(terms: Terms): AcquireRequest {
  return { memoryBytes: 1024 * 1024, ...terms };
}

function refusalOf(error: unknown): Refusal {
  const { message } = error as Error;
  if (isLessorError(error)) return { code: error.code, errno: error.errno, message };
  if (isOsError(error)) return { code: 'OS', errno: error.errno, message };
  throw error;
}

async function refusal(work: Promise<unknown>): Promise<Refusal | 'ok'> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    return refusalOf(error);
  }
}

export async function openQueue(lease: Lease): Promise<Held> {
  const queue = await Queue.create(lease, { entries: 16, spinMicros: 50 });
  return { lease, queue, data: await lease.memory.allocate(dataBytes) };
}

/** A nop, and a copy whose every byte is compared. */
export async function workOnce({ queue, data }: Held, round: number): Promise<string> {
  await queue.nop();
  const seed = (round % 250) + 1;
  const source = data.u8.subarray(0, copyBytes);
  for (let index = 0; index < copyBytes; index += 1) source[index] = index + seed;
  const target = data.u8.subarray(copyBytes, 2 * copyBytes).fill(0);
  const destination = data.iova + copyBytes;
  await queue.copy({ source: data.iova, destination, lengthBytes: copyBytes });
  for (let index = 0; index < copyBytes; index += 1) {
    if (target[index] !== ((index + seed) & 0xff)) return `byte ${index} of round ${round}`;
  }
  return 'ok';
}

export class TestClient implements ClientCalls {
  readonly #socket: string;
  #client: Client | undefined;
  #held: Held | undefined;
  #working: Promise<{ rounds: number; wrong: string }> | undefined;
  #stopping = false;
  readonly #kept: object[] = [];
  #revoking: Promise<{ reason: string; graceMs: number }> | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  get #mine(): Held {
    assert(this.#held !== undefined, 'a lease was taken');
    return this.#held;
  }

  async #broker(): Promise<Client> {
    this.#client ??= await connect({ socket: this.#socket });
    return this.#client;
  }

  async acquire(terms: Terms): Promise<Taken> {
    const lease = await (await this.#broker()).acquire(requestOf(terms));
    this.#revoking = new Promise((resolve) => lease.once('revoking', resolve));
    this.#held = await openQueue(lease);
    const { id, slice, pasid, iovaBase, iovaBytes } = lease.record;
    return { id, slice, pasid, iovaBase, iovaBytes, dataIova: this.#held.data.iova };
  }

  async refused(terms: Terms): Promise<Refusal> {
    const found = await refusal(this.acquire(terms));
    assert(found !== 'ok', 'the request is refused');
    return found;
  }

  async work(rounds: number): Promise<string> {
    for (let round = 0; round < rounds; round += 1) {
      const wrong = await workOnce(this.#mine, round);
      if (wrong !== 'ok') return wrong;
    }
    return 'ok';
  }

  async startWork(): Promise<void> {
    this.#stopping = false;
    this.#working = this.#workOn();
    this.#working.catch(() => undefined);
  }

  async #workOn(): Promise<{ rounds: number; wrong: string }> {
    for (let rounds = 0; ; rounds += 1) {
      if (this.#stopping) return { rounds, wrong: 'ok' };
      const wrong = await workOnce(this.#mine, rounds).catch((error: unknown) => String(error));
      if (wrong !== 'ok') return { rounds, wrong };
    }
  }

  async stopWork(): Promise<{ rounds: number; wrong: string }> {
    this.#stopping = true;
    assert(this.#working !== undefined, 'work was started');
    return this.#working;
  }

  async map(): Promise<Refusal | 'ok'> {
    return refusal(this.#mine.lease.memory.allocate(4096));
  }

  async ended(): Promise<Stopped> {
    await this.#mine.lease.ended;
    return this.look();
  }

  async look(): Promise<Stopped> {
    const { lease } = this.#mine;
    const status = lease.window('status');
    const queue = lease.window('queue');
    const reason = lease.closed ? (await lease.ended).reason : '';
    const word = (window: typeof status): number =>
      window.kind === 'mapped' ? (window.u32[0] ?? 0) : 0;
    return {
      status: word(status),
      queueWord: word(queue),
      revoked: status.kind === 'mapped' && status.revoked,
      closed: lease.closed,
      reason,
    };
  }

  async revoking(): Promise<{ reason: string; graceMs: number }> {
    assert(this.#revoking !== undefined, 'a lease was taken');
    return this.#revoking;
  }

  async renew(id: string, ttlMs: number): Promise<Refusal | 'ok'> {
    return refusal((await this.#broker()).renew(id, ttlMs));
  }

  async release(id: string): Promise<Refusal | 'ok'> {
    return refusal((await this.#broker()).release(id));
  }

  async reset(): Promise<void> {
    const { lease, queue } = this.#mine;
    await lease.reset();
    await queue.reset();
  }

  async submit(): Promise<void> {
    const { queue, data } = this.#mine;
    queue.submitCopy(data.iova, data.iova + copyBytes, copyBytes);
    queue.ring();
  }

  async close(): Promise<void> {
    await this.#held?.lease.close();
    this.#held = undefined;
  }

  async shareWithChild(terms: Terms): Promise<{ id: string; pid: number }> {
    const { record, lease, control } = await (await this.#broker()).acquireForHandover(
      requestOf(terms),
    );
    assert(control !== undefined, 'a lease with a control connection');
    const child = spawn('sleep', ['60'], {
      stdio: ['ignore', 'ignore', 'ignore', lease.number, control.number],
      detached: true,
    });
    child.unref();
    return { id: record.id, pid: child.pid ?? 0 };
  }

  async closeOne(which: 'control' | 'lease', terms: Terms): Promise<{ id: string }> {
    const { id, lease, control } = await this.#rawLease(terms);
    if (which === 'lease') lease.close();
    else control[Symbol.dispose]();
    // The other one stays open as long as this process lives.
    this.#kept.push(lease, control);
    return { id };
  }

  async handOver(reportPath: string): Promise<{ id: string; pid: number }> {
    const request = requestOf({ holder: 'fd' });
    const { record, lease } = await (await this.#broker()).acquireForHandover(request);
    const child = spawn(process.execPath, [holderScript], {
      stdio: ['ignore', 'inherit', 'inherit', lease.number],
      env: {
        ...process.env,
        LESSOR_LEASE: JSON.stringify(record),
        LESSOR_TEST_REPORT: reportPath,
      },
      detached: true,
    });
    child.unref();
    lease.close();
    return { id: record.id, pid: child.pid ?? 0 };
  }

  async #rawLease(terms: Terms): Promise<{ id: string; lease: Fd; control: VarlinkClient }> {
    const control = new VarlinkClient(createOs().sockets.connect(this.#socket), systemClock);
    const replies = control.callMore<AcquireReply>('io.lessor.Control.Acquire', requestOf(terms));
    const first = await replies.next();
    const [lease] = first?.fds ?? [];
    assert(lease !== undefined, 'a lease came with its descriptor');
    return { id: first?.parameters.lease?.id ?? '', lease, control };
  }
}
