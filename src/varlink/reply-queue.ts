// The replies of one call with `more`, taken one at a time.
import { closeAll, type Fd } from '../os/fd.js';
import type { JsonObject } from './json.js';

/** A reply and what came with it. Whoever receives it owns the descriptors. */
export interface Reply<Parameters = JsonObject> {
  readonly parameters: Parameters;
  readonly fds: Fd[];
  /** Another reply follows. */
  readonly continues: boolean;
}

export interface MoreReplies<Parameters = JsonObject> extends AsyncIterable<Reply<Parameters>> {
  /**
   * The next reply, whose descriptors the caller owns; undefined behind the last one.
   *
   * @throws LessorError what the service answered, or why the connection ended.
   */
  next(): Promise<Reply<Parameters> | undefined>;
  /** Wants no more replies: closes the connection unless the last reply was taken. */
  stop(): void;
}

export interface QueueTerms {
  stop(): void;
  setPaused(paused: boolean): void;
  /** Replies that wait to be taken before reading pauses. */
  readonly aheadMax: number;
}

interface Waiting<Parameters> {
  resolve(reply: Reply<Parameters> | undefined): void;
  reject(error: Error): void;
}

export class ReplyQueue<Parameters> implements MoreReplies<Parameters> {
  readonly #terms: QueueTerms;
  readonly #ready: Reply<Parameters>[] = [];
  readonly #waiting: Waiting<Parameters>[] = [];
  #paused = false;
  /** No reply will be added. */
  #complete = false;
  #error: Error | undefined;

  constructor(terms: QueueTerms) {
    this.#terms = terms;
  }

  push(reply: Reply<Parameters>): void {
    if (!reply.continues) this.#complete = true;
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve(reply);
    else this.#ready.push(reply);
    if (this.#complete) for (const other of this.#waiting.splice(0)) other.resolve(undefined);
    this.#balance();
  }

  fail(error: Error): void {
    if (this.#complete) return;
    this.#complete = true;
    this.#error = error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  next(): Promise<Reply<Parameters> | undefined> {
    const reply = this.#ready.shift();
    if (reply !== undefined) {
      this.#balance();
      return Promise.resolve(reply);
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#complete) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  stop(): void {
    for (const { fds } of this.#ready.splice(0)) closeAll(fds);
    if (!this.#complete) this.#terms.stop();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Reply<Parameters>, void, undefined> {
    try {
      for (let reply = await this.next(); reply; reply = await this.next()) yield reply;
    } finally {
      this.stop();
    }
  }

  #balance(): void {
    const paused = !this.#complete && this.#ready.length >= this.#terms.aheadMax;
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#terms.setPaused(paused);
  }
}
