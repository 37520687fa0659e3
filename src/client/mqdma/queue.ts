// The user-side queue of an mqdma lease. Operations that return promises, and under them a
// synchronous path (submit, ring, poll) that neither allocates nor enters the kernel.
import { isLessorError, LessorError } from '../../base/errors.js';
import { roundUp } from '../../base/units.js';
import { completionStatus, mqdma, opcode, ringState } from '../../device/mqdma/datasheet.js';
import { DescriptorRing, ringBytes } from './descriptor-ring.js';
import {
  type CompareOperands,
  type CopyOperands,
  type Crc32cOperands,
  checkIova,
  checkLength,
  type FillOperands,
  patternWords,
} from './operands.js';
import type { LeaseInterrupt, LeaseMemory, QueueLease } from './queue-lease.js';
import { connectRings, disconnectRings, stopError, stopReason } from './queue-link.js';
import { QueuePort } from './queue-port.js';

export interface QueueOptions {
  /** Descriptors under way at most: a power of two, 2 to 4096. Default 256. */
  readonly entries?: number;
  /** How long a wait spins before it sleeps on the interrupt. Default 50. */
  readonly spinMicros?: number;
}

/** A sleep ends after this even without its interrupt: one can be lost. */
const lostInterruptMs = 250;
/** The event loop gets a turn at least this often, however busy the queue is. */
const eventLoopEveryMs = 2;

const nothing = (): void => undefined;

interface Waiter {
  readonly resolve: (status: number, result: number) => void;
  readonly reject: (error: unknown) => void;
}

export class Queue implements AsyncDisposable {
  readonly #lease: QueueLease;
  readonly #memory: LeaseMemory;
  readonly #ring: DescriptorRing;
  readonly #port: QueuePort;
  readonly #interrupt: LeaseInterrupt;
  readonly #spinMs: number;
  readonly #closedListener: Disposable;
  /** By place in the ring. */
  readonly #waiters: (Waiter | undefined)[];
  #waiting = 0;
  #rung = 0;
  #armTicket = 0;
  #pumping = false;
  #failure: LessorError | undefined;

  /**
   * Takes the rings of a lease's slice into use.
   *
   * @throws LessorError `INVALID_ARGUMENT`, `DEVICE_FAULT`, `DEADLINE_EXCEEDED`, `LEASE_REVOKED`
   */
  static async create(lease: QueueLease, options: QueueOptions = {}): Promise<Queue> {
    const { entries = 256, spinMicros = 50 } = options;
    const { ringEntriesMin, ringEntriesMax } = mqdma;
    const isPower = Number.isInteger(entries) && (entries & (entries - 1)) === 0;
    if (!isPower || entries < ringEntriesMin || entries > ringEntriesMax) {
      const range = `${ringEntriesMin}..${ringEntriesMax}`;
      throw new LessorError('INVALID_ARGUMENT', `entries ${entries}: a power of two in ${range}`);
    }
    const memory = await lease.memory.allocate(roundUp(ringBytes(entries), 4096));
    const queue = new Queue(lease, memory, entries, spinMicros);
    try {
      await connectRings(lease, queue.#port, queue.#ring);
      return queue;
    } catch (error) {
      queue.#closedListener[Symbol.dispose]();
      await memory[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(lease: QueueLease, memory: LeaseMemory, entries: number, spinMicros: number) {
    this.#lease = lease;
    this.#memory = memory;
    this.#ring = new DescriptorRing(memory, entries);
    this.#port = new QueuePort(lease, entries);
    this.#interrupt = lease.interrupt(0);
    this.#spinMs = spinMicros / 1000;
    this.#waiters = new Array(entries).fill(undefined);
    this.#closedListener = lease.onClosed(() => this.#lost(undefined));
  }

  get entries(): number {
    return this.#ring.entries;
  }

  /** Descriptors submitted and not yet completed. */
  get outstanding(): number {
    return this.#ring.outstanding;
  }

  /** Why the queue takes no more work; `reset` mends a `DEVICE_FAULT`. */
  get failure(): LessorError | undefined {
    return this.#failure;
  }

  // The synchronous path.

  /** @returns A ticket for `isDone`. @throws LessorError `QUEUE_FULL`, or `failure` */
  submitNop(): number {
    this.#check();
    return this.#ring.putNop();
  }

  /** Arguments as in `copy`, unchecked. @throws LessorError `QUEUE_FULL`, or `failure` */
  submitCopy(source: number, destination: number, lengthBytes: number): number {
    this.#check();
    return this.#ring.put(opcode.COPY, source, destination, lengthBytes, 0, 0, 0);
  }

  submitFill(destination: number, lengthBytes: number, low: number, high: number): number {
    this.#check();
    return this.#ring.put(opcode.FILL, 0, destination, lengthBytes, low, high, 0);
  }

  submitCompare(source: number, destination: number, lengthBytes: number): number {
    this.#check();
    return this.#ring.put(opcode.COMPARE, source, destination, lengthBytes, 0, 0, 0);
  }

  submitCrc32c(source: number, lengthBytes: number, seed: number): number {
    this.#check();
    return this.#ring.put(opcode.CRC32C, source, 0, lengthBytes, 0, 0, seed);
  }

  /** Hands everything submitted since the last `ring` to the device: one doorbell for a batch. */
  ring(): void {
    const ring = this.#ring;
    if (ring.tail === this.#rung) return;
    this.#rung = ring.tail;
    this.#port.ring(ring.tail, ring.completed);
  }

  /**
   * Takes what has completed, and settles promises of it.
   *
   * @returns How many completions there were.
   * @throws LessorError `failure`, once nothing is left to take: `DEVICE_FAULT`, `LEASE_REVOKED`
   */
  poll(): number {
    const ring = this.#ring;
    let taken = 0;
    while (ring.take()) {
      taken++;
      if (this.#waiting > 0) this.#settle(ring.completed - 1);
    }
    if (taken === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      const state = this.#port.state;
      if (state !== undefined && state !== ringState.CONNECTED) this.#stopped(state);
    }
    return taken;
  }

  /** True when the operation of a ticket has completed, for the last `entries` tickets. */
  isDone(ticket: number): boolean {
    return this.#ring.isDone(ticket);
  }

  /** A `completionStatus` of the datasheet, valid until `entries` more were submitted. */
  statusOf(ticket: number): number {
    return this.#ring.statuses[this.#ring.place(ticket)]!;
  }

  /** CRC, or offset of the first difference; valid as `statusOf`. */
  resultOf(ticket: number): number {
    return this.#ring.results[this.#ring.place(ticket)]!;
  }

  // The promises. All reject with LessorError `QUEUE_FULL`, `INVALID_ARGUMENT`, `DEVICE_FAULT`
  // (a DeviceFault, with the record) or `LEASE_REVOKED`.

  async nop(): Promise<void> {
    await this.#completion(this.submitNop(), nothing);
  }

  async copy(operands: CopyOperands): Promise<void> {
    const source = checkIova(operands.source, 'source');
    const destination = checkIova(operands.destination, 'destination');
    const lengthBytes = checkLength(operands.lengthBytes);
    await this.#completion(this.submitCopy(source, destination, lengthBytes), nothing);
  }

  async fill(operands: FillOperands): Promise<void> {
    const destination = checkIova(operands.destination, 'destination');
    const lengthBytes = checkLength(operands.lengthBytes);
    const { low, high } = patternWords(operands.pattern);
    await this.#completion(this.submitFill(destination, lengthBytes, low, high), nothing);
  }

  /** @returns The offset of the first difference; undefined when the ranges are equal. */
  async compare(operands: CompareOperands): Promise<number | undefined> {
    const source = checkIova(operands.source, 'source');
    const destination = checkIova(operands.destination, 'destination');
    const lengthBytes = checkLength(operands.lengthBytes);
    const ticket = this.submitCompare(source, destination, lengthBytes);
    return this.#completion(ticket, (status, result) =>
      status === completionStatus.DIFFERENT ? result : undefined,
    );
  }

  /** @returns The CRC-32C of the bytes, 0 to 2^32 - 1. */
  async crc32c(operands: Crc32cOperands): Promise<number> {
    const source = checkIova(operands.source, 'source');
    const lengthBytes = checkLength(operands.lengthBytes);
    const seed = operands.seed ?? 0;
    const ticket = this.submitCrc32c(source, lengthBytes, seed >>> 0);
    return this.#completion(ticket, (_, result) => result);
  }

  /**
   * Takes a stopped queue into use again. What was outstanding has been rejected.
   *
   * @throws LessorError `LEASE_REVOKED`, `DEVICE_FAULT`, `DEADLINE_EXCEEDED`
   */
  async reset(): Promise<void> {
    if (this.#failure !== undefined && !isLessorError(this.#failure, 'DEVICE_FAULT')) {
      throw this.#failure;
    }
    this.#fail(new LessorError('DEVICE_FAULT', 'the queue was reset'));
    await disconnectRings(this.#lease, this.#port);
    await connectRings(this.#lease, this.#port, this.#ring);
    this.#rung = 0;
    this.#failure = undefined;
  }

  /** Disconnects the rings, after what is under way; then returns their memory. */
  async [Symbol.asyncDispose](): Promise<void> {
    const wasLost = isLessorError(this.#failure, 'LEASE_REVOKED');
    this.#fail(new LessorError('LEASE_ENDED', 'the queue was closed'));
    this.#closedListener[Symbol.dispose]();
    try {
      if (!wasLost && !this.#lease.closed) await disconnectRings(this.#lease, this.#port);
    } catch (error) {
      if (!isLessorError(error, 'LEASE_REVOKED')) throw error;
    } finally {
      await this.#memory[Symbol.asyncDispose]();
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #completion<T>(ticket: number, value: (status: number, result: number) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiters[this.#ring.place(ticket)] = {
        resolve: (status, result) => resolve(value(status, result)),
        reject,
      };
      this.#waiting++;
      if (this.#pumping) return;
      this.#pumping = true;
      // Later, so that everything submitted together shares one doorbell.
      queueMicrotask(() => void this.#pump());
    });
  }

  #settle(ticket: number): void {
    const place = this.#ring.place(ticket);
    const waiter = this.#waiters[place];
    if (waiter === undefined) return;
    const status = this.#ring.statuses[place]!;
    // Stays: it is rejected with the record when the queue is seen to have stopped.
    if (status === completionStatus.FAULT) return;
    this.#waiters[place] = undefined;
    this.#waiting--;
    if (status === completionStatus.INVALID) {
      waiter.reject(new LessorError('INVALID_ARGUMENT', 'the device refused the descriptor'));
    } else {
      waiter.resolve(status, this.#ring.results[place]!);
    }
  }

  async #pump(): Promise<void> {
    let loopSinceMs = this.#lease.clock.nowMs();
    try {
      while (this.#waiting > 0) {
        this.ring();
        if (!this.#spin()) await this.#sleep();
        // Lets whoever was waiting go on, and submit more, before the next doorbell.
        await undefined;
        const nowMs = this.#lease.clock.nowMs();
        if (nowMs - loopSinceMs > eventLoopEveryMs) {
          await new Promise(setImmediate);
          loopSinceMs = nowMs;
        }
      }
    } catch (error) {
      this.#lost(error);
    } finally {
      this.#pumping = false;
    }
  }

  /** Polls for at most `spinMicros`. @returns True when something completed. */
  #spin(): boolean {
    const untilMs = this.#lease.clock.nowMs() + this.#spinMs;
    do {
      for (let tries = 0; tries < 16; tries++) if (this.poll() > 0) return true;
    } while (this.#lease.clock.nowMs() < untilMs);
    return false;
  }

  /** Sleeps until the interrupt. Armed first, looked again after: none can be missed. */
  async #sleep(): Promise<void> {
    this.#armTicket = (this.#armTicket + 1) >>> 0 || 1;
    await this.#port.arm(this.#armTicket);
    if (this.poll() > 0) return;
    await this.#interrupt.wait(lostInterruptMs);
    if (this.poll() > 0 || this.#port.isMapped) return;
    const state = await this.#port.readStatus('STATE');
    if (state !== ringState.CONNECTED) throw await stopReason(this.#port, state);
  }

  /** The status page says that the queue does not run: fails everything, and throws why. */
  #stopped(state: number): never {
    if (this.#lease.closed) this.#lost(undefined);
    else this.#fail(stopError(state, (name) => this.#port.statusWord(name)!));
    throw this.#failure;
  }

  /** The lease is gone, or a message to it failed. */
  #lost(error: unknown): void {
    if (isLessorError(error)) this.#fail(error);
    else this.#fail(new LessorError('LEASE_REVOKED', 'the lease ended', { cause: error }));
  }

  /** Rejects everything outstanding. The first reason stays. */
  #fail(error: LessorError): void {
    this.#failure ??= error;
    this.#waiting = 0;
    for (let place = 0; place < this.#waiters.length; place++) {
      const waiter = this.#waiters[place];
      this.#waiters[place] = undefined;
      waiter?.reject(this.#failure);
    }
  }
}
