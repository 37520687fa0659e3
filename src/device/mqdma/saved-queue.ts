// One queue of mqdma as it migrates: its control registers, the rings it connected, the operation
// under way. Its pages are frames: whoever hosts the device moves those.
import { LessorError } from '../../base/errors.js';
import { bytes, type Decoded, flags32, struct, u32, u64Number } from '../../uapi/struct.js';
import { completionStatus, isolationBit, mqdma } from './datasheet.js';
import { beginOperation, checkRange, type Refusal } from './operation.js';
import { QueueState } from './queue-state.js';
import { ringErrorOf } from './ring.js';

export const savedQueueFlag = {
  ENABLED: 1,
  DRAIN: 2,
  NEVER_IDLE: 4,
  RING_SEEN: 8,
  CONNECTED: 16,
  STOPPED: 32,
  BUSY: 64,
  /** What is under way was fetched before the queue was disabled: late DMA. */
  LATE: 128,
} as const;

export const savedQueue = struct('mqdma_queue', 180, {
  flags: flags32(255),
  isolation: flags32(isolationBit.PASID | isolationBit.BOUNDS),
  pasidRegister: u32,
  baseLow: u32,
  baseHigh: u32,
  lengthLow: u32,
  lengthHigh: u32,
  delayMs: u32,
  lostInterrupts: u32,
  entries: u32,
  descriptorsBase: u64Number,
  completionsBase: u64Number,
  fetched: u32,
  tailSeen: u32,
  posted: u32,
  headSeen: u32,
  armFired: u32,
  ringFaultCount: u32,
  faultCount: u32,
  faultAccess: u32,
  faultReason: u32,
  faultLow: u32,
  faultHigh: u32,
  completed: u32,
  /** From now on; 0: at once, as `QueueState.dueMs`. */
  dueInMs: u32,
  doneBytes: u32,
  result: u32,
  descriptor: bytes(mqdma.descriptorBytes),
});

type SavedQueue = Decoded<typeof savedQueue>;

export const savedQueueBytes = savedQueue.sizeBytes;

/** What a queue may be, by the options of its device. */
export interface QueueRules {
  readonly pasidBits: number;
  readonly faultInjection: boolean;
}

/** @param nowMs - Of the clock by which `queue.dueMs` goes. */
export function encodeQueue(queue: QueueState, nowMs: number): Uint8Array {
  const flags =
    (queue.enabled ? savedQueueFlag.ENABLED : 0) |
    (queue.drain ? savedQueueFlag.DRAIN : 0) |
    (queue.neverIdle ? savedQueueFlag.NEVER_IDLE : 0) |
    (queue.ringSeen !== 0 ? savedQueueFlag.RING_SEEN : 0) |
    (queue.connected ? savedQueueFlag.CONNECTED : 0) |
    (queue.stopped ? savedQueueFlag.STOPPED : 0) |
    (queue.busy ? savedQueueFlag.BUSY : 0) |
    (queue.busy && queue.operationLife !== queue.life ? savedQueueFlag.LATE : 0);
  const dueInMs = queue.dueMs === 0 ? 0 : Math.max(1, Math.ceil(queue.dueMs - nowMs));
  const { doneBytes, result } = queue.busy ? queue : { doneBytes: 0, result: 0 };
  // What was left by an operation that is over says nothing.
  const descriptor = queue.busy ? queue.descriptor.slice() : new Uint32Array(16);
  const operation = { doneBytes, result, descriptor: new Uint8Array(descriptor.buffer) };
  return savedQueue.encode({ ...queue, ...operation, flags, dueInMs });
}

/**
 * A queue as it was saved, on the pages of `queue`, which is not changed. What a holder could not
 * have brought about is refused: it would reach past the checks that stand before it.
 *
 * @throws LessorError `INVALID_ARGUMENT`, ProtocolError
 */
export function decodeQueue(
  state: Uint8Array,
  queue: QueueState,
  rules: QueueRules,
  nowMs: number,
): QueueState {
  const saved = savedQueue.decode(state);
  const loaded = new QueueState(queue.index, queue.page, queue.status);
  const has = (bit: number): boolean => (saved.flags & bit) !== 0;
  const { flags: _, dueInMs, descriptor, doneBytes, result, ...same } = saved;
  Object.assign(loaded, same);
  loaded.enabled = has(savedQueueFlag.ENABLED);
  loaded.drain = has(savedQueueFlag.DRAIN);
  loaded.neverIdle = has(savedQueueFlag.NEVER_IDLE);
  loaded.ringSeen = has(savedQueueFlag.RING_SEEN) ? 1 : 0;
  loaded.connected = has(savedQueueFlag.CONNECTED);
  loaded.stopped = has(savedQueueFlag.STOPPED);
  loaded.busy = has(savedQueueFlag.BUSY);
  loaded.life = queue.life + 1;
  loaded.operationLife = has(savedQueueFlag.LATE) ? queue.life : loaded.life;
  loaded.dueMs = dueInMs === 0 ? 0 : nowMs + dueInMs;
  checkControl(saved, loaded, rules);
  loaded.takeIsolation();
  if (loaded.connected) checkRing(loaded);
  loaded.descriptor.set(new Uint32Array(descriptor.buffer));
  if (loaded.busy) resume(loaded, doneBytes, result, has(savedQueueFlag.LATE));
  return loaded;
}

function check(condition: boolean, queue: QueueState, what: string): void {
  if (condition) return;
  throw new LessorError('INVALID_ARGUMENT', `mqdma_state: queue ${queue.index}: ${what}`);
}

function checkControl(saved: SavedQueue, queue: QueueState, rules: QueueRules): void {
  const { pasidBits, faultInjection } = rules;
  const usesPasid = (saved.isolation & isolationBit.PASID) !== 0;
  const fits = saved.pasidRegister < 2 ** pasidBits && (pasidBits > 0 || !usesPasid);
  check(fits, queue, `PASID ${saved.pasidRegister}`);
  const isInjected =
    queue.neverIdle || saved.delayMs !== 0 || saved.lostInterrupts !== 0 || saved.dueInMs !== 0;
  check(faultInjection || !isInjected, queue, 'injected faults');
  check(saved.dueInMs === 0 || queue.busy, queue, 'a time without an operation');
  check(!queue.connected || (queue.enabled && queue.ringSeen === 1), queue, 'rings of no holder');
}

/** As `connect` and every doorbell since have found them. */
function checkRing(queue: QueueState): void {
  const { entries, descriptorsBase, completionsBase } = queue;
  const lowBits = (descriptorsBase % 2 ** 32) | (completionsBase % 2 ** 32);
  const error = ringErrorOf(entries, lowBits, descriptorsBase, completionsBase);
  check(error === 0, queue, 'impossible rings');
  queue.entriesMask = entries - 1;
  queue.entriesShift = 31 - Math.clz32(entries);
  check((queue.tailSeen - queue.fetched) >>> 0 <= entries, queue, 'a doorbell past the ring');
  check((queue.posted - queue.headSeen) >>> 0 <= entries, queue, 'completions past the ring');
  if (queue.stopped && !queue.busy) return;
  const inBounds = (base: number, lengthBytes: number): boolean =>
    checkRange(queue, Math.floor(base / 2 ** 32), base >>> 0, lengthBytes) < 0;
  check(inBounds(descriptorsBase, entries * mqdma.descriptorBytes), queue, 'rings out of bounds');
  check(inBounds(completionsBase, entries * mqdma.completionBytes), queue, 'rings out of bounds');
}

/** Begins the operation under way anew, from its descriptor, and goes on where it was. */
function resume(queue: QueueState, doneBytes: number, result: number, isLate: boolean): void {
  const refusal: Refusal = { access: 0, reason: 0, high: 0, low: 0 };
  check(isLate ? queue.dueMs !== 0 : queue.connected, queue, 'an operation of no ring');
  check(beginOperation(queue, refusal) === completionStatus.OK, queue, 'an invalid operation');
  const isPart = doneBytes < queue.lengthBytes || doneBytes === 0;
  check(isPart, queue, `${doneBytes} bytes done of ${queue.lengthBytes}`);
  queue.doneBytes = doneBytes;
  queue.result = result;
}
