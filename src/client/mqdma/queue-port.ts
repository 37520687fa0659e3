// How a queue reaches its registers: stores into a mapped window, or messages. Both are driven
// synchronously; messages go out one at a time, the newest doorbell last.
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
  readonly #onLost: (error: unknown) => void;
  /** Empty arrays in message mode: loads give undefined, stores do nothing. */
  readonly #page: Uint32Array;
  readonly #statusWords: Uint32Array;
  readonly isMapped: boolean;
  #tail = 0;
  #head = 0;
  #doorbellUnderWay = false;
  #doorbellAgain = false;

  /** @param onLost - Called when a message failed: the lease is gone. */
  constructor(lease: QueueLease, onLost: (error: unknown) => void) {
    this.#queue = lease.window('queue');
    this.#status = lease.window('status');
    this.#onLost = onLost;
    this.isMapped = this.#queue.kind === 'mapped' && this.#status.kind === 'mapped';
    this.#page = this.isMapped ? (this.#queue as MappedLeaseWindow).u32 : new Uint32Array(0);
    this.#statusWords = this.isMapped
      ? (this.#status as MappedLeaseWindow).u32
      : new Uint32Array(0);
  }

  /** Rings the doorbell; wakes the device by message only when it sleeps. */
  ring(tail: number, head: number): void {
    this.#tail = tail;
    this.#head = head;
    if (!this.isMapped) {
      this.#sendDoorbell();
      return;
    }
    const page = this.#page;
    page[queuePageWord.COMPLETION_HEAD] = head;
    Atomics.store(page, queuePageWord.TAIL, tail);
    // Ordered after the store: either the device sees the tail before it sleeps, or we see this.
    if (Atomics.load(this.#statusWords, statusPageWord.NEED_WAKEUP) !== 0) {
      // Posted: a client that spins does not come round to taking an answer.
      (this.#queue as MappedLeaseWindow).postMessage32(queuePage.KICK, 1);
    }
  }

  /** The ring state as last published; `undefined` where only a message can tell. */
  get state(): number | undefined {
    return this.#statusWords[statusPageWord.STATE];
  }

  /** A word of the status page; `undefined` where only a message can tell. */
  statusWord(name: StatusName): number | undefined {
    return this.#statusWords[statusPageWord[name]];
  }

  #sendDoorbell(): void {
    this.#doorbellAgain = true;
    if (!this.#doorbellUnderWay) void this.#doorbells();
  }

  async #doorbells(): Promise<void> {
    this.#doorbellUnderWay = true;
    try {
      while (this.#doorbellAgain) {
        this.#doorbellAgain = false;
        await this.#message(queuePage.COMPLETION_HEAD, this.#head);
        await this.#message(queuePage.TAIL, this.#tail);
      }
    } catch (error) {
      this.#onLost(error);
    } finally {
      this.#doorbellUnderWay = false;
    }
  }

  #message(offsetBytes: number, value: number): Promise<void> {
    const window = this.#queue;
    return window.kind === 'mapped'
      ? window.writeMessage32(offsetBytes, value)
      : window.write32(offsetBytes, value);
  }

  /** Asks for one interrupt. When it resolves, completions from then on fire it. */
  async arm(ticket: number): Promise<void> {
    assert(ticket !== 0, 'an arming ticket is not 0');
    if (this.isMapped) Atomics.store(this.#page, queuePageWord.ARM, ticket);
    else await this.#message(queuePage.ARM, ticket);
  }

  /** Writes a register that is not on the hot path, and wakes the device for it. */
  async write(name: Name, value: number): Promise<void> {
    if (this.isMapped) Atomics.store(this.#page, queuePageWord[name], value);
    else await this.#message(queuePage[name], value);
  }

  /** Writes RING_CONTROL and makes the device look, asleep or not. */
  async writeControl(value: number): Promise<void> {
    if (this.isMapped) {
      Atomics.store(this.#page, queuePageWord.RING_CONTROL, value);
      await this.#message(queuePage.KICK, 1);
    } else {
      await this.#message(queuePage.RING_CONTROL, value);
    }
  }

  async readStatus(name: StatusName): Promise<number> {
    if (this.isMapped) return this.#statusWords[statusPageWord[name]]!;
    return this.#status.read32(statusPage[name]);
  }
}
