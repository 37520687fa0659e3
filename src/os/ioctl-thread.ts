// Ioctls off the main thread: a reset or a change of interrupts can wait for the hardware.
import { Worker } from 'node:worker_threads';
import { errnoName } from '../base/errno.js';
import { LessorError, OsError } from '../base/errors.js';
import type { Fd } from './fd.js';
import type { IoctlReply, IoctlRequest, IoctlThreadData } from './ioctl-thread-messages.js';
import type { IoctlThread } from './ioctl-thread-types.js';

interface Pending {
  readonly name: string;
  readonly argument: Uint8Array;
  readonly resolve: (result: number) => void;
  readonly reject: (error: Error) => void;
}

class WorkerIoctlThread implements IoctlThread {
  readonly ended: Promise<string>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #end: string | undefined;
  #idle: (() => void) | undefined;
  #disposing: Promise<void> | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    let failure: string | undefined;
    worker.on('error', (error) => {
      failure ??= `the thread of the device's calls failed: ${error}`;
    });
    worker.on('message', (reply: IoctlReply) => this.#take(reply));
    this.ended = new Promise((resolve) => {
      worker.once('exit', () => {
        const detail = failure ?? "the thread of the device's calls ended";
        this.#finish(detail);
        resolve(detail);
      });
    });
  }

  async call(name: string, request: number, argument: Uint8Array): Promise<number> {
    if (this.#end !== undefined) throw gone(this.#end);
    this.#lastId += 1;
    const callId = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(callId, { name, argument, resolve, reject });
      // A view of a larger buffer would be sent whole.
      const message: IoctlRequest = { callId, request, bytes: Uint8Array.from(argument) };
      this.#worker.postMessage(message);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    this.#end ??= 'the device was closed';
    if (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#worker.terminate();
    await this.ended;
  }

  #take({ callId, result, bytes }: IoctlReply): void {
    const pending = this.#pending.get(callId)!;
    this.#pending.delete(callId);
    pending.argument.set(bytes);
    if (result < 0) pending.reject(new OsError(errnoName(-result), pending.name));
    else pending.resolve(result);
    if (this.#pending.size === 0) this.#idle?.();
  }

  #finish(detail: string): void {
    this.#end ??= detail;
    for (const { reject } of this.#pending.values()) reject(gone(detail));
    this.#pending.clear();
    this.#idle?.();
  }
}

function gone(detail: string): LessorError {
  return new LessorError('FUNCTION_GONE', detail);
}

const workerModule = new URL('./ioctl-thread-worker.js', import.meta.url);

/**
 * Starts the thread. The caller disposes it.
 *
 * @param fd - Borrowed: closed by its owner after `ended`.
 * @param module - What runs in the thread; tests give another.
 */
export function startIoctlThread(fd: Fd, module: URL = workerModule): IoctlThread {
  const data: IoctlThreadData = { descriptor: fd.number };
  const worker = new Worker(module, {
    name: 'lessor ioctl',
    workerData: data,
    stdout: true,
  });
  // Standard output is for answers of the process.
  worker.stdout.pipe(process.stderr, { end: false });
  return new WorkerIoctlThread(worker);
}
