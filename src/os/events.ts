// Readiness, eventfds and futexes of the operating system.
import { readlinkSync } from 'node:fs';
import { assert } from '../base/errors.js';
import type { EventOs, EventSignaller } from './event-types.js';
import { Fd, type FdCalls } from './fd.js';
import type { EventCalls } from './native-events.js';
import type { MemoryCalls } from './native-memory.js';
import { checkResult } from './native-result.js';
import { type PollCalls, pollEvents } from './native-sockets.js';
import { Readiness } from './readiness.js';
import { EAGAIN } from './socket-constants.js';

export type EventOsCalls = FdCalls & EventCalls & PollCalls & Pick<MemoryCalls, 'memfdCreate'>;

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
// MFD_CLOEXEC | MFD_NOEXEC_SEAL: allowed whatever the sysctl vm.memfd_noexec says.
const memfdFlags = 0x1 | 0x8;
/** More than one completion never waits: each signal reaps. */
const completionsMax = 8;

/**
 * Reads past the end of an empty memfd complete at once, inside io_submit, and each completion
 * signals an eventfd without ever waiting for room in its counter.
 */
class AioSignaller implements EventSignaller {
  readonly #calls: EventOsCalls;
  readonly #context: number;
  readonly #source: Fd;

  constructor(calls: EventOsCalls) {
    this.#calls = calls;
    const source = checkResult(calls.memfdCreate('lessor-signal', memfdFlags), 'memfd_create');
    this.#source = new Fd(calls, source);
    try {
      this.#context = checkResult(calls.aioSetup(completionsMax), 'io_setup');
    } catch (error) {
      this.#source.close();
      throw error;
    }
  }

  signal(fd: number): number {
    const result = this.#calls.aioReadAndSignal(this.#context, this.#source.number, fd);
    // Completions that nobody takes fill the context: EAGAIN after a few hundred.
    this.#calls.aioReap(this.#context);
    return result < 0 ? result : 0;
  }

  [Symbol.dispose](): void {
    if (!this.#source.isOpen) return;
    this.#calls.aioDestroy(this.#context);
    this.#source.close();
  }
}

export class OsEvents implements EventOs {
  readonly #calls: EventOsCalls;

  constructor(calls: EventOsCalls) {
    this.#calls = calls;
  }

  createEventFd(): Fd {
    const fd = this.#calls.eventFd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return new Fd(this.#calls, checkResult(fd, 'eventfd'));
  }

  drain(fd: Fd): bigint {
    const counter = new BigUint64Array(1);
    const result = this.#calls.readNoWait(fd.number, new Uint8Array(counter.buffer));
    if (result === -EAGAIN) return 0n;
    checkResult(result, 'preadv2', 'eventfd');
    return counter[0] ?? 0n;
  }

  isEventFd(fd: Fd): boolean {
    // The name is the kernel's own: paths of files begin with a slash.
    return readlinkSync(`/proc/self/fd/${fd.number}`) === 'anon_inode:[eventfd]';
  }

  createSignaller(): EventSignaller {
    return new AioSignaller(this.#calls);
  }

  watch(fd: Fd, onReadable: () => void): Disposable {
    const readiness = new Readiness(this.#calls, fd.number, onReadable);
    readiness.want(pollEvents.readable);
    return readiness;
  }

  futexWait(words: Int32Array, index: number, expected: number, timeoutMs: number): number {
    assert(index >= 0 && index < words.length, `futex word ${index}`);
    const timeoutNs = Number.isFinite(timeoutMs) ? Math.round(timeoutMs * 1e6) : -1;
    return this.#calls.futexWait(words, index, expected, timeoutNs);
  }

  futexWake(words: Int32Array, index: number, count: number): number {
    assert(index >= 0 && index < words.length, `futex word ${index}`);
    return checkResult(this.#calls.futexWake(words, index, count), 'futex');
  }
}
