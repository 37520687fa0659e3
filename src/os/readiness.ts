// Interest in the readiness of one descriptor: started when first wanted, never after disposal.
import { checkResult } from './native-result.js';
import type { PollCalls } from './native-sockets.js';

export class Readiness implements Disposable {
  readonly #calls: PollCalls;
  readonly #fd: number;
  readonly #onReady: (events: number) => void;
  #handle = -1;
  #events = 0;
  #keepsAlive = true;
  #disposed = false;

  /**
   * @param fd - Stays open until this is disposed; not owned.
   * @param onReady - Gets the ready ones among the wanted events (`pollEvents`).
   */
  constructor(calls: PollCalls, fd: number, onReady: (events: number) => void) {
    this.#calls = calls;
    this.#fd = fd;
    this.#onReady = onReady;
  }

  /** Changes what is waited for; 0 waits for nothing. @throws OsError when it cannot start. */
  want(events: number): void {
    if (this.#disposed || events === this.#events) return;
    if (this.#handle >= 0) {
      checkResult(this.#calls.pollUpdate(this.#handle, events), 'poll');
    } else {
      this.#handle = checkResult(this.#calls.pollStart(this.#fd, events, this.#onReady), 'poll');
      if (!this.#keepsAlive) this.#calls.pollReference(this.#handle, false);
    }
    this.#events = events;
  }

  /** Whether waiting keeps the process alive; it does at first. */
  keepAlive(keepsAlive: boolean): void {
    this.#keepsAlive = keepsAlive;
    if (this.#handle >= 0) this.#calls.pollReference(this.#handle, keepsAlive);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    if (this.#handle >= 0) this.#calls.pollStop(this.#handle);
    this.#handle = -1;
  }
}
