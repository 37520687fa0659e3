// A PciFunction in software: a PciDevice in a worker thread behind a software IOMMU, windows in
// memfds. This class wires its parts and keeps the life of the worker; each part is its own file.
import { LessorError } from '../../base/errors.js';
import { Listeners } from '../../base/listeners.js';
import type { Value, Width } from '../../device/types.js';
import type { Fd } from '../../os/fd.js';
import { frameAt } from '../frame-map.js';
import { createRegisters } from '../register-access.js';
import type {
  BackingSpec,
  DmaPort,
  FunctionEvent,
  FunctionInfo,
  PciFunction,
  Registers,
  Window,
} from '../types.js';
import { word } from './control-block.js';
import type { EmulatedParts } from './emulated-parts.js';
import { FaultReports } from './fault-reports.js';

/** Longest time the worker may take to end by itself. */
const stopDeadlineMs = 1000;

export class EmulatedFunction implements PciFunction {
  readonly dma: DmaPort;
  readonly #parts: EmulatedParts;
  readonly #events = new Listeners<FunctionEvent>();
  readonly #reports: FaultReports;
  #info: FunctionInfo;
  #gone: LessorError | undefined;
  #isStopping = false;
  /** Resets run one after the other. */
  #resets: Promise<void> = Promise.resolve();
  #disposing: Promise<void> | undefined;
  #guardFaults: number;
  #signalFailures = 0;

  constructor(parts: EmulatedParts) {
    this.#parts = parts;
    this.#info = parts.info;
    this.#guardFaults = parts.arena.faults[0]!;
    this.#reports = new FaultReports(parts.control, parts.clock, (event) =>
      this.#events.emit(event),
    );
    this.dma = {
      open: async ({ pasid }) => {
        this.#checkPresent();
        return parts.iommu.open(pasid);
      },
    };
    parts.link.onNotice(() => this.#takeNotice());
    parts.connect({
      read: (region, offsetBytes, width) => this.#read(region, offsetBytes, width),
      write: (region, offsetBytes, width, value) => this.#write(region, offsetBytes, width, value),
      checkPresent: () => this.#checkPresent(),
      silence: () => {
        // A reset under way knows already.
        if (this.#isStopping) return;
        this.#events.emit({ type: 'error', detail: 'the device does not answer' });
      },
    });
    this.#watchThread();
  }

  get info(): FunctionInfo {
    return this.#info;
  }

  registers(region: number): Registers {
    const found = this.#info.regions.find((candidate) => candidate.index === region);
    if (!found) throw new LessorError('INVALID_ARGUMENT', `the function has no region ${region}`);
    return createRegisters(found.lengthBytes, {
      read: (offsetBytes, width) => this.#read(region, offsetBytes, width),
      write: (offsetBytes, width, value) => this.#write(region, offsetBytes, width, value),
    });
  }

  async openWindow(spec: BackingSpec, terms: { readonly uid: number }): Promise<Window> {
    return this.#parts.windows.open(spec, terms.uid);
  }

  async setInterrupt(vector: number, target: Fd | undefined): Promise<void> {
    try {
      // Unbinding must work to the last: reclaim goes on without the function.
      if (target) this.#checkPresent();
    } catch (error) {
      target?.close();
      throw error;
    }
    await this.#parts.vectors.set(vector, target);
  }

  kick(): void {
    this.#parts.link.kick();
  }

  reset(signal: AbortSignal): Promise<void> {
    const reset = this.#resets.then(() => this.#reset(signal));
    this.#resets = reset.catch(() => {});
    return reset;
  }

  onEvent(listener: (event: FunctionEvent) => void): Disposable {
    return this.#events.add(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  #checkPresent(): void {
    if (this.#gone) throw this.#gone;
  }

  /** Frames are memory that device and broker share; the rest answers by callback. */
  async #read(region: number, offsetBytes: number, width: Width): Promise<Value> {
    this.#checkPresent();
    const { places, frames, view, mailbox } = this.#parts;
    const place = frameAt(places, region, offsetBytes);
    if (!place) return mailbox.call({ operation: 'read', region, offsetBytes, width, value: 0 });
    const at = frames.arenaOffsetOf(place) + offsetBytes - place.offsetBytes;
    const value = view.load(at, width);
    this.#checkMemory();
    return value;
  }

  async #write(region: number, offsetBytes: number, width: Width, value: Value): Promise<void> {
    this.#checkPresent();
    const { places, frames, view, mailbox } = this.#parts;
    const place = frameAt(places, region, offsetBytes);
    if (!place) {
      await mailbox.call({ operation: 'write', region, offsetBytes, width, value });
      return;
    }
    const at = frames.arenaOffsetOf(place) + offsetBytes - place.offsetBytes;
    view.store(at, width, value);
    this.#checkMemory();
  }

  #takeNotice(): void {
    this.#reports.take();
    const { control } = this.#parts;
    const failures = Atomics.load(control.words, word.signalFailures);
    if (failures !== this.#signalFailures) {
      this.#signalFailures = failures;
      const errno = Atomics.load(control.words, word.signalErrno);
      this.#events.emit({ type: 'error', detail: `an interrupt was refused: errno ${errno}` });
    }
    this.#checkMemory();
  }

  /** Looks for memory that its owner truncated, when any guard fault came since. */
  #checkMemory(): void {
    const { arena, windows, iommu } = this.#parts;
    const faults = arena.faults[0]!;
    if (faults === this.#guardFaults) return;
    this.#guardFaults = faults;
    windows.checkTruncated();
    iommu.checkFaults();
  }

  #watchThread(): void {
    const { thread } = this.#parts;
    void thread.ended.then((detail) => {
      if (!this.#isStopping && thread === this.#parts.thread) this.#end(detail);
    });
  }

  /** The worker is gone for good: nothing of the device runs any more. */
  #end(detail: string): void {
    if (this.#gone) return;
    this.#gone = new LessorError('FUNCTION_GONE', detail);
    this.#parts.workerEnded();
    this.#parts.mailbox.fail(this.#gone, true);
    this.#parts.log.error('function gone', { name: this.#info.name, detail });
    this.#events.emit({ type: 'gone', detail });
  }

  async #reset(signal: AbortSignal): Promise<void> {
    this.#checkPresent();
    this.#info = { ...this.#info, epoch: this.#info.epoch + 1 };
    const { mailbox, log } = this.#parts;
    const request = { operation: 'reset', region: 0, offsetBytes: 0, width: 4, value: 0 } as const;
    try {
      await abortable(mailbox.call(request), signal);
    } catch (error) {
      this.#checkPresent();
      log.warn('the device ignored a reset; its worker is replaced', {
        name: this.#info.name,
        reason: error instanceof Error ? error.message : String(error),
      });
      await this.#restart();
    }
  }

  /** A new worker and a new device on the same windows, mappings and vectors. */
  async #restart(): Promise<void> {
    const parts = this.#parts;
    this.#isStopping = true;
    try {
      await parts.thread.terminate();
      parts.workerEnded();
      const lost = new LessorError('DEADLINE_EXCEEDED', 'the device was reset before it answered');
      parts.mailbox.fail(lost, false);
      parts.mailbox.restart();
      await parts.startThread();
    } catch (error) {
      this.#end(`the device does not come back: ${String(error)}`);
      throw this.#gone!;
    } finally {
      this.#isStopping = false;
    }
    this.#watchThread();
  }

  async #dispose(): Promise<void> {
    const { control, link, thread } = this.#parts;
    await this.#resets;
    this.#isStopping = true;
    Atomics.store(control.words, word.stop, 1);
    link.kick();
    await thread.join(stopDeadlineMs);
    this.#gone ??= new LessorError('FUNCTION_GONE', 'the function was closed');
    this.#parts.workerEnded();
    this.#parts.mailbox.fail(this.#gone, true);
    this.#reports[Symbol.dispose]();
    await this.#parts.release();
  }
}

/** Settles as `promise` does, or rejects once the signal aborts. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void =>
      reject(new LessorError('DEADLINE_EXCEEDED', 'the device did not answer in time'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
