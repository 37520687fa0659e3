// The worker thread of a device, seen from main: start, orders, end. Nothing here waits for ever.
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import type {
  DeviceDescription,
  DeviceSource,
  StartOrder,
  WorkerMessage,
} from './worker-messages.js';

/** Longest time for importing, constructing and attaching a device. */
const startDeadlineMs = 15_000;

function detailOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export class DeviceThread {
  readonly #worker: Worker;
  readonly #clock: Clock;
  /** Resolves once the thread is gone, with what ended it. */
  readonly ended: Promise<string>;
  #description: DeviceDescription | undefined;

  private constructor(source: DeviceSource, name: string, clock: Clock) {
    this.#clock = clock;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      name: `lessor ${name}`,
      workerData: source,
      stdout: true,
    });
    // The broker's standard output is for its answers.
    this.#worker.stdout.pipe(process.stderr, { end: false });
    let failure: string | undefined;
    this.#worker.on('error', (error) => {
      failure ??= `the device failed: ${detailOf(error)}`;
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', (code) => resolve(failure ?? `the worker ended with ${code}`));
    });
  }

  /**
   * Starts a thread that constructs the device and waits for its orders.
   *
   * @throws LessorError `FUNCTION_GONE` when the device cannot be constructed.
   */
  static async spawn(source: DeviceSource, name: string, clock: Clock): Promise<DeviceThread> {
    const thread = new DeviceThread(source, name, clock);
    const message = await thread.#expect('described');
    thread.#description = message.description;
    return thread;
  }

  get description(): DeviceDescription {
    return this.#description!;
  }

  /** Attaches the device and lets it run. @throws LessorError `FUNCTION_GONE` */
  async start(order: StartOrder): Promise<void> {
    const running = this.#expect('running');
    this.#worker.postMessage(order);
    await running;
  }

  /** Ends the thread wherever it is, also in an endless loop. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Waits until the thread ends by itself, at most `deadlineMs`, then ends it. */
  async join(deadlineMs: number): Promise<void> {
    let timer: Disposable | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = this.#clock.after(deadlineMs, () => resolve('late'));
    });
    const end = await Promise.race([this.ended, late]);
    timer?.[Symbol.dispose]();
    if (end === 'late') await this.terminate();
  }

  /** The next message, which must be of `type`; the thread is ended when it does not come. */
  async #expect<T extends WorkerMessage['type']>(
    type: T,
  ): Promise<Extract<WorkerMessage, { type: T }>> {
    let timer: Disposable | undefined;
    let listener: ((message: WorkerMessage) => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        const fail = (detail: string): void => reject(new LessorError('FUNCTION_GONE', detail));
        listener = (message) => {
          if (message.type === type) resolve(message as Extract<WorkerMessage, { type: T }>);
        };
        this.#worker.on('message', listener);
        void this.ended.then(fail);
        timer = this.#clock.after(startDeadlineMs, () => fail('the device does not start'));
      });
    } catch (error) {
      await this.terminate();
      throw error;
    } finally {
      timer?.[Symbol.dispose]();
      if (listener) this.#worker.off('message', listener);
    }
  }
}
