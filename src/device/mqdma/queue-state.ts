// What the device knows of one queue: its control registers, the rings it connected, the
// operation under way. Plain numbers, so that the step machine allocates nothing.
import type { Frame } from '../types.js';
import { isolationBit, mqdma, queueStatus, ringState, statusPageWord } from './datasheet.js';

const { addressEnd } = mqdma;

/** Joins the halves of a 64-bit register. Exact below 2^53; above, still far over `addressEnd`. */
export function join64(high: number, low: number): number {
  return high * 2 ** 32 + low;
}

export class QueueState {
  readonly index: number;
  /** The holder's read-write page and read-only page. Their fields change under us. */
  page: Frame;
  status: Frame;

  // Control registers.
  enabled = false;
  drain = false;
  isolation = 0;
  pasidRegister = 0;
  baseLow = 0;
  baseHigh = 0;
  lengthLow = 0;
  lengthHigh = 0;
  neverIdle = false;
  delayMs = 0;
  lostInterrupts = 0;

  // What the isolation registers mean, fixed from enable to disable.
  pasid: number | undefined = undefined;
  bounded = false;
  boundsBase = 0;
  boundsEnd = addressEnd;

  // The rings. Counters run modulo 2^32.
  ringSeen = 0;
  connected = false;
  /** By a fault or a broken doorbell; until the ring is disconnected. */
  stopped = false;
  entries = 0;
  entriesMask = 0;
  entriesShift = 0;
  descriptorsBase = 0;
  completionsBase = 0;
  fetched = 0;
  /** TAIL as last read and checked; reread only when all up to it was fetched. */
  tailSeen = 0;
  posted = 0;
  /** The holder's completion head as last read: reread only when the ring looks full. */
  headSeen = 0;
  /** Value of ARM for which an interrupt has been fired. */
  armFired = 0;

  // Translations of the ring pages in use; good under `ringGeneration`.
  ringGeneration = -1;
  descriptorPage = -1;
  descriptorOffset = 0;
  completionPage = -1;
  completionOffset = 0;

  // The operation under way, from the private copy of its descriptor.
  readonly descriptor = new Uint32Array(16);
  busy = false;
  /** Injected delay: not before this time; 0: at once. A late operation cannot be called back. */
  dueMs = 0;
  opcode = 0;
  tag = 0;
  lengthBytes = 0;
  doneBytes = 0;
  source = 0;
  destination = 0;
  /** Running CRC, or offset of the first difference. */
  result = 0;

  /** A message is under way (no direct memory); nothing else of this queue runs meanwhile. */
  parked = false;
  /** Steps in a row that found nothing; for the scheduler. */
  idleSteps = 0;
  /** +1 whenever what is under way becomes void. */
  life = 0;
  /** The life in which the operation under way was fetched. */
  operationLife = 0;

  faultCount = 0;
  /** Faults since connect, as the status page shows them. */
  ringFaultCount = 0;
  faultAccess = 0;
  faultReason = 0;
  faultLow = 0;
  faultHigh = 0;
  completed = 0;

  constructor(index: number, page: Frame, status: Frame) {
    this.index = index;
    this.page = page;
    this.status = status;
  }

  /** No DMA is under way or still to come. */
  get isIdle(): boolean {
    return !this.busy && !this.parked && !this.neverIdle;
  }

  get statusBits(): number {
    return (
      (this.isIdle ? queueStatus.IDLE : 0) |
      (this.enabled ? queueStatus.ENABLED : 0) |
      (this.connected ? queueStatus.CONNECTED : 0) |
      (this.stopped ? queueStatus.FAULTED : 0)
    );
  }

  /** Takes the isolation registers as they are and lets the queue run. */
  enable(): void {
    if (this.enabled) return;
    this.enabled = true;
    this.takeIsolation();
  }

  /** Fixes what the isolation registers mean. */
  takeIsolation(): void {
    this.pasid = (this.isolation & isolationBit.PASID) !== 0 ? this.pasidRegister : undefined;
    this.bounded = (this.isolation & isolationBit.BOUNDS) !== 0;
    this.boundsBase = this.bounded ? join64(this.baseHigh, this.baseLow) : 0;
    const end = this.boundsBase + join64(this.lengthHigh, this.lengthLow);
    this.boundsEnd = this.bounded ? Math.min(end, addressEnd) : addressEnd;
  }

  /** Disconnects and gives up what is under way, except for late DMA. */
  disable(): void {
    this.enabled = false;
    this.disconnect();
    this.life = (this.life + 1) >>> 0;
    // Under delay injection the DMA counts as sent: it lands, or faults, when it is due.
    if (this.dueMs === 0) this.busy = false;
  }

  /** Forgets the rings; the next 0 to 1 of RING_CONTROL connects anew. */
  disconnect(): void {
    this.ringSeen = 0;
    this.connected = false;
    this.stopped = false;
    this.descriptorPage = -1;
    this.completionPage = -1;
    this.ringFaultCount = 0;
    this.publishState(ringState.DISCONNECTED, 0);
  }

  publishState(state: number, error: number): void {
    const { u32, base } = this.status;
    u32[base + statusPageWord.ERROR] = error;
    Atomics.store(u32, base + statusPageWord.STATE, state);
  }

  /** Clears the holder's registers and the status page. */
  clearPages(): void {
    const pageWords = 0x80 / 4;
    this.page.u32.fill(0, this.page.base, this.page.base + pageWords);
    this.status.u32.fill(0, this.status.base, this.status.base + pageWords);
  }

  /** RESET: what ENABLE 0 does, and no trace of the last holder. Isolation stays. */
  reset(): void {
    this.disable();
    this.drain = false;
    this.armFired = 0;
    this.faultAccess = 0;
    this.faultReason = 0;
    this.faultLow = 0;
    this.faultHigh = 0;
    this.clearPages();
  }

  /** Function reset: everything, late DMA included. */
  resetAll(): void {
    this.reset();
    this.busy = false;
    this.dueMs = 0;
    this.isolation = 0;
    this.pasidRegister = 0;
    this.baseLow = 0;
    this.baseHigh = 0;
    this.lengthLow = 0;
    this.lengthHigh = 0;
    this.neverIdle = false;
    this.delayMs = 0;
    this.lostInterrupts = 0;
    this.faultCount = 0;
    this.completed = 0;
  }
}
