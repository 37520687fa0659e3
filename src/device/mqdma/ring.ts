// Connecting and disconnecting rings: the registers of the queue page are copied once, checked,
// and never read again until the next connect.
import { accessCode, mqdma, queuePageWord, ringError, ringState } from './datasheet.js';
import { checkRange } from './operation.js';
import { join64, type QueueState } from './queue-state.js';
import type { SharedState } from './shared-state.js';

const {
  addressEnd,
  descriptorBytes,
  completionBytes,
  ringAlignmentBytes,
  ringEntriesMax,
  ringEntriesMin,
} = mqdma;

/** Acts on a RING_CONTROL that differs from the one seen last, once nothing is under way. */
export function changeRing(shared: SharedState, queue: QueueState, ringControl: number): void {
  if ((ringControl & 1) === 0) {
    queue.disconnect();
    return;
  }
  if (queue.ringSeen !== 0) return;
  queue.ringSeen = 1;
  connectRing(shared, queue);
}

function connectRing(shared: SharedState, queue: QueueState): void {
  const { u32, base } = queue.page;
  const entries = u32[base + queuePageWord.RING_ENTRIES]!;
  const descriptorsLow = u32[base + queuePageWord.DESCRIPTORS_LOW]!;
  const descriptorsHigh = u32[base + queuePageWord.DESCRIPTORS_HIGH]!;
  const completionsLow = u32[base + queuePageWord.COMPLETIONS_LOW]!;
  const completionsHigh = u32[base + queuePageWord.COMPLETIONS_HIGH]!;
  const descriptors = join64(descriptorsHigh, descriptorsLow);
  const completions = join64(completionsHigh, completionsLow);
  const error = ringErrorOf(entries, descriptorsLow | completionsLow, descriptors, completions);
  if (error !== 0) {
    queue.publishState(ringState.REJECTED, error);
    return;
  }
  startRing(queue, entries, descriptors, completions);
  const read = checkRange(queue, descriptorsHigh, descriptorsLow, entries * descriptorBytes);
  if (read >= 0) {
    shared.recordFault(queue, accessCode.READ, read, descriptorsHigh, descriptorsLow);
    return;
  }
  const write = checkRange(queue, completionsHigh, completionsLow, entries * completionBytes);
  if (write >= 0) {
    shared.recordFault(queue, accessCode.WRITE, write, completionsHigh, completionsLow);
    return;
  }
  queue.publishState(ringState.CONNECTED, 0);
}

/**
 * Why rings cannot be connected, apart from bounds; 0: they can.
 *
 * @param lowBits - Of both addresses: those that alignment is about.
 */
export function ringErrorOf(
  entries: number,
  lowBits: number,
  descriptors: number,
  completions: number,
): number {
  const powerOfTwo = (entries & (entries - 1)) === 0;
  if (!powerOfTwo || entries < ringEntriesMin || entries > ringEntriesMax) return ringError.ENTRIES;
  if ((lowBits & (ringAlignmentBytes - 1)) !== 0) return ringError.ALIGNMENT;
  const ringsEnd = Math.max(
    descriptors + entries * descriptorBytes,
    completions + entries * completionBytes,
  );
  return ringsEnd > addressEnd ? ringError.ADDRESS : 0;
}

function startRing(
  queue: QueueState,
  entries: number,
  descriptors: number,
  completions: number,
): void {
  queue.operationLife = queue.life;
  queue.connected = true;
  queue.stopped = false;
  queue.entries = entries;
  queue.entriesMask = entries - 1;
  queue.entriesShift = 31 - Math.clz32(entries);
  queue.descriptorsBase = descriptors;
  queue.completionsBase = completions;
  queue.fetched = 0;
  queue.tailSeen = 0;
  queue.posted = 0;
  queue.headSeen = 0;
  queue.armFired = 0;
  queue.ringFaultCount = 0;
  queue.descriptorPage = -1;
  queue.completionPage = -1;
}
