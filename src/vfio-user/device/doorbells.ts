// The doorbells of one client of a served device: eventfds, and what a ring of each does. The
// client shares them and may do with them what it likes; here they are only watched and drained.
import { errnoOf, OsError } from '../../base/errors.js';
import type { DoorbellSpec, PciDevice } from '../../device/types.js';
import type { EventOs } from '../../os/event-types.js';
import { closeAll, type Fd } from '../../os/fd.js';
import { KVM_IOEVENTFD_FLAG_DATAMATCH } from '../../uapi/vfio-user.js';
import type { RegionIoFd } from '../endpoint.js';
import type { FrameMemory } from './frame-memory.js';
import type { PlannedRegion } from './region-plan.js';

export interface DoorbellParts {
  readonly device: PciDevice;
  readonly frames: FrameMemory;
  readonly events: EventOs;
  /** The device may have work now. */
  readonly wake: () => void;
  /** Told of an error that the device should not have thrown. */
  readonly onBug: (error: unknown) => void;
}

/** An eventfd of ours and what happens when it is rung. */
class Bell implements Disposable {
  readonly fd: Fd;
  readonly #events: EventOs;
  readonly #watch: Disposable;

  /** @throws OsError when there are no descriptors left. */
  constructor(events: EventOs, onReadable: (bell: Bell) => void) {
    this.#events = events;
    this.fd = events.createEventFd();
    try {
      this.#watch = events.watch(this.fd, () => onReadable(this));
    } catch (error) {
      this.fd.close();
      throw error;
    }
  }

  /** Whether it was rung since the last time. */
  take(): boolean {
    return this.#events.drain(this.fd) > 0n;
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.fd.close();
  }
}

/**
 * A ring becomes a write to the device when neither a request nor another ring is being served: it
 * is called once at a time. A bell that is rung without end costs a write in each turn of the event
 * loop.
 */
export class Doorbells implements Disposable {
  readonly #parts: DoorbellParts;
  /** Outside of frames, by region, in the order of the plan. */
  readonly #registers = new Map<number, ReadonlyMap<DoorbellSpec, Bell>>();
  /** What a ring writes, region by region. */
  readonly #rings = new Map<Bell, () => void | Promise<void>>();
  /** Rung and not yet written. */
  readonly #rung = new Set<Bell>();
  /** Of all registers in frames, since a ring of each has the same effect. */
  #waker: Bell | undefined;
  /** The write of a ring that takes its time. Never rejects. */
  #current: Promise<void> | undefined;
  #hasRequest = false;
  #isClosed = false;

  constructor(parts: DoorbellParts) {
    this.#parts = parts;
  }

  /** The region's doorbells for the client. @throws OsError when there are no descriptors left. */
  share(region: PlannedRegion): RegionIoFd[] {
    const bells = this.#bellsOf(region);
    const shared = new Map<Bell, Fd>();
    try {
      return region.doorbells.map((doorbell) => {
        const bell = bells.get(doorbell) ?? this.#wakerBell();
        const fd = shared.get(bell) ?? bell.fd.duplicate();
        shared.set(bell, fd);
        return entryOf(doorbell, fd);
      });
    } catch (error) {
      closeAll([...shared.values()]);
      throw error;
    }
  }

  /**
   * Runs a request of the client, which come one at a time; rings wait until it has settled.
   *
   * @throws OsError `ECANCELED` when the client went while the request waited for a ring.
   */
  inTurn<T>(request: () => T | Promise<T>): T | Promise<T> {
    this.#hasRequest = true;
    const ringing = this.#current;
    let result: T | Promise<T>;
    try {
      result = ringing === undefined ? request() : ringing.then(() => this.#late(request));
    } catch (error) {
      this.#requestDone();
      throw error;
    }
    if (result instanceof Promise) return result.finally(() => this.#requestDone());
    this.#requestDone();
    return result;
  }

  /** Writes once for each bell that was rung until now; settles when done. Only in a request. */
  async answerAll(): Promise<void> {
    if (this.#waker?.take()) this.#parts.wake();
    for (const bell of this.#rings.keys()) {
      if (this.#isClosed) return;
      const isRung = bell.take();
      if (!this.#rung.delete(bell) && !isRung) continue;
      this.#ring(bell);
      await this.#current;
    }
  }

  /** Drops what was rung until now. */
  forget(): void {
    this.#waker?.take();
    for (const bell of this.#rings.keys()) bell.take();
    this.#rung.clear();
  }

  /** The client is gone: nothing it rings arrives any more. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#rung.clear();
    for (const bell of this.#rings.keys()) bell[Symbol.dispose]();
    this.#rings.clear();
    this.#registers.clear();
    this.#waker?.[Symbol.dispose]();
    this.#waker = undefined;
  }

  #wakerBell(): Bell {
    const { events, wake } = this.#parts;
    this.#waker ??= new Bell(events, (bell) => {
      if (bell.take()) wake();
    });
    return this.#waker;
  }

  #bellsOf({ index, doorbells }: PlannedRegion): ReadonlyMap<DoorbellSpec, Bell> {
    const known = this.#registers.get(index);
    if (known !== undefined) return known;
    const { frames } = this.#parts;
    const made = new Map<DoorbellSpec, Bell>();
    try {
      for (const doorbell of doorbells) {
        if (frames.specAt(index, doorbell.offsetBytes) !== undefined) continue;
        made.set(doorbell, new Bell(this.#parts.events, (bell) => this.#onReadable(bell)));
      }
    } catch (error) {
      for (const bell of made.values()) bell[Symbol.dispose]();
      throw error;
    }
    for (const [doorbell, bell] of made) {
      this.#rings.set(bell, () => this.#write(index, doorbell));
    }
    this.#registers.set(index, made);
    return made;
  }

  #write(region: number, { offsetBytes, lengthBytes, datamatch = 0n }: DoorbellSpec) {
    const value = lengthBytes === 8 ? datamatch : Number(datamatch);
    return this.#parts.device.write(region, offsetBytes, lengthBytes, value);
  }

  #onReadable(bell: Bell): void {
    if (!bell.take()) return;
    this.#rung.add(bell);
    this.#answer();
  }

  /** Writes what was rung, unless the device is being called. */
  #answer(): void {
    while (!this.#hasRequest && this.#current === undefined) {
      const [bell] = this.#rung;
      if (bell === undefined) return;
      this.#rung.delete(bell);
      this.#ring(bell);
    }
  }

  #ring(bell: Bell): void {
    const { wake } = this.#parts;
    try {
      const done = this.#rings.get(bell)?.();
      if (done instanceof Promise) this.#current = this.#settled(done);
    } catch (error) {
      this.#failed(error);
    }
    if (!this.#isClosed) wake();
  }

  async #settled(write: Promise<void>): Promise<void> {
    try {
      await write;
    } catch (error) {
      this.#failed(error);
    }
    this.#current = undefined;
    this.#answer();
  }

  /** As for a posted write, nobody hears of an expected error. */
  #failed(error: unknown): void {
    if (errnoOf(error) === undefined) this.#parts.onBug(error);
  }

  /** Of a client that is still there. */
  #late<T>(request: () => T | Promise<T>): T | Promise<T> {
    if (!this.#isClosed) return request();
    throw new OsError('ECANCELED', 'vfio-user', 'the client is gone');
  }

  #requestDone(): void {
    this.#hasRequest = false;
    this.#answer();
  }
}

function entryOf({ offsetBytes, lengthBytes, datamatch }: DoorbellSpec, fd: Fd): RegionIoFd {
  return {
    offsetBytes,
    lengthBytes,
    kind: 'ioeventfd',
    flags: datamatch === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH,
    data: datamatch ?? 0n,
    fd,
  };
}
