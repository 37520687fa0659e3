// How a queue reaches its registers: stores into a mapped window, or messages. Doorbells by message
// are posted: a client that spins hears no replies, and must not depend on one.
import { assert } from '../../base/errors.js';
import {
  queuePage,
  queuePageWord,
  statusPage,
  statusPageWord,
} from '../../device/mqdma/datasheet.js';
import type { LeaseWindow, MappedLeaseWindow, QueueLease } from './queue-lease.js';

type Name = keyof typeof queuePage;
type StatusName = keyof typeof statusPage;

/** Reads as all ones: the window was revoked. */
export const revokedWord = 0xffffffff;

export class QueuePort {
  readonly #queue: LeaseWindow;
  readonly #status: LeaseWindow;
  /** Empty arrays in message mode: loads give undefined, stores do nothing. */
  readonly #page: Uint32Array;
  readonly #statusWords: Uint32Array;
  readonly isMapped: boolean;
  readonly #entries: number;
  #headSent = 0;

  /** @throws LessorError `INVALID_ARGUMENT` when the lease has no such windows. */
  constructor(lease: QueueLease, entries: number) {
    this.#queue = lease.window('queue');
    this.#status = lease.window('status');
    this.#entries = entries;
    this.isMapped = this.#queue.kind === 'mapped' && this.#status.kind === 'mapped';
    this.#page = this.isMapped ? (this.#queue as MappedLeaseWindow).u32 : new Uint32Array(0);
    this.#statusWords = this.isMapped
      ? (this.#status as MappedLeaseWindow).u32
      : new Uint32Array(0);
  }

  /** Rings the doorbell; wakes the device by message only when it sleeps. */
  ring(tail: number, head: number): void {
    if (!this.isMapped) {
      this.#postDoorbell(tail, head);
      return;
    }
    const page = this.#page;
    page[queuePageWord.COMPLETION_HEAD] = head;
    Atomics.store(page, queuePageWord.TAIL, tail);
    // Ordered after the store: either the device sees the tail before it sleeps, or we see this.
    // The kick is never TAIL itself: a message would overtake a newer store.
    if (Atomics.load(this.#statusWords, statusPageWord.NEED_WAKEUP) !== 0) {
      this.#queue.postMessage32(queuePage.KICK, 1);
    }
  }

  /** The head goes only when the device would else see no place for all completions. */
  #postDoorbell(tail: number, head: number): void {
    if ((tail - this.#headSent) >>> 0 > this.#entries) {
      this.#headSent = head;
      this.#queue.postMessage32(queuePage.COMPLETION_HEAD, head);
    }
    this.#queue.postMessage32(queuePage.TAIL, tail);
  }

  /** The ring state as last published; `undefined` where only a message can tell. */
  get state(): number | undefined {
    return this.#statusWords[statusPageWord.STATE];
  }

  /** A word of the status page; `undefined` where only a message can tell. */
  statusWord(name: StatusName): number | undefined {
    return this.#statusWords[statusPageWord[name]];
  }

  /** Asks for one interrupt. When it resolves, completions from then on fire it. */
  async arm(ticket: number): Promise<void> {
    assert(ticket !== 0, 'an arming ticket is not 0');
    if (this.isMapped) Atomics.store(this.#page, queuePageWord.ARM, ticket);
    else await this.#queue.write32(queuePage.ARM, ticket);
  }

  /** Writes a register that is not on the hot path. */
  async write(name: Name, value: number): Promise<void> {
    if (name === 'COMPLETION_HEAD') this.#headSent = value;
    if (this.isMapped) Atomics.store(this.#page, queuePageWord[name], value);
    else await this.#queue.write32(queuePage[name], value);
  }

  /** Writes RING_CONTROL and makes the device look, asleep or not. */
  async writeControl(value: number): Promise<void> {
    await this.write('RING_CONTROL', value);
    this.#queue.postMessage32(queuePage.KICK, 1);
  }

  async readStatus(name: StatusName): Promise<number> {
    if (this.isMapped) return this.#statusWords[statusPageWord[name]]!;
    return this.#status.read32(statusPage[name]);
  }
}
