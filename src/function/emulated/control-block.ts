// The control block: one SharedArrayBuffer between the function's main side and its worker. All of
// it is 32-bit words. What each side writes lies on cache lines of its own.
import { assert } from '../../base/errors.js';

/** Word indexes of the fixed part; the comment says who writes. */
export const word = {
  /** Main: 1 asks the worker to return. */
  stop: 0,
  /** Main: generation of frame and vector table. */
  barrier: 1,
  /** Main: next fault record to take. */
  faultTail: 2,
  /** Main: 1 while it spins for an answer and needs no notification. */
  mainSpins: 3,
  /** Main: grows to end the wait of a worker in its event loop. */
  wake: 4,
  /** Worker: a value of `workerState`. */
  state: 32,
  /** Worker: the barrier generation it works with. */
  barrierSeen: 33,
  /** Worker: grows with everything main should look at; what main waits on. */
  notice: 34,
  /** Worker: guard faults of the process as last seen. */
  guardFaults: 35,
  /** Worker: next fault record to fill. */
  faultHead: 36,
  /** Worker: fault records that found the ring full. */
  faultsDropped: 37,
  /** Worker: signals that the kernel refused, and the last errno. */
  signalFailures: 38,
  signalErrno: 39,
} as const;

/** `turning`: running, but waiting in its event loop for what the device promised. */
export const workerState = { absent: 0, running: 1, asleep: 2, turning: 3 } as const;

/** Requests in the mailbox at a time. */
export const slotCount = 64;
export const slotWords = 16;
/** Word offsets in a slot. `state` is written last, by either side. */
export const slotWord = {
  state: 0,
  operation: 1,
  region: 2,
  width: 3,
  offsetLow: 4,
  offsetHigh: 5,
  valueLow: 6,
  valueHigh: 7,
} as const;
export const slotState = { free: 0, posted: 1, done: 2 } as const;
export const operation = { read: 0, write: 1, reset: 2 } as const;

/** Fault records that wait for main. */
export const faultRecordCount = 256;
export const faultRecordWords = 8;

const slotsStart = 64;
const faultsStart = slotsStart + slotCount * slotWords;
const tablesStart = faultsStart + faultRecordCount * faultRecordWords;

/** What the worker needs to find the tables; structured-clonable. */
export interface ControlShape {
  readonly frameCount: number;
  readonly vectorCount: number;
}

/** The views of one side. */
export interface ControlBlock {
  readonly shared: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Index of a mailbox slot's first word. */
  slot(index: number): number;
  /** Index of a fault record's first word; `sequence` wraps. */
  faultRecord(sequence: number): number;
  /** Arena page of each frame. */
  readonly frames: Int32Array<SharedArrayBuffer>;
  /** Eventfd number of each vector, -1 when not bound. */
  readonly vectors: Int32Array<SharedArrayBuffer>;
}

/** Makes a zeroed block with all vectors unbound. */
export function createControlBlock(shape: ControlShape): ControlBlock {
  const lengthWords = tablesStart + shape.frameCount + shape.vectorCount;
  const block = openControlBlock(new SharedArrayBuffer(lengthWords * 4), shape);
  block.vectors.fill(-1);
  return block;
}

/** The same block in another thread. */
export function openControlBlock(shared: SharedArrayBuffer, shape: ControlShape): ControlBlock {
  const vectorsStart = tablesStart + shape.frameCount;
  assert(shared.byteLength === (vectorsStart + shape.vectorCount) * 4, 'control block length');
  return {
    shared,
    words: new Int32Array(shared),
    slot: (index) => slotsStart + index * slotWords,
    faultRecord: (sequence) =>
      faultsStart + ((sequence >>> 0) % faultRecordCount) * faultRecordWords,
    frames: new Int32Array(shared, tablesStart * 4, shape.frameCount),
    vectors: new Int32Array(shared, vectorsStart * 4, shape.vectorCount),
  };
}

/** True when sequence number `one` is at or after `other`; both wrap at 32 bits. */
export function isAtOrAfter(one: number, other: number): boolean {
  return ((one - other) | 0) >= 0;
}
