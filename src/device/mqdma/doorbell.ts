// Reading the holder's doorbells: the only words of the queue page that count while connected.
import { queuePageWord, ringError, ringState } from './datasheet.js';
import type { QueueState } from './queue-state.js';

const { COMPLETION_HEAD, RING_CONTROL, TAIL } = queuePageWord;

function stop(queue: QueueState, error: number): false {
  queue.stopped = true;
  queue.publishState(ringState.ERROR, error);
  return false;
}

/**
 * True when a descriptor may be fetched: the holder rang, the queue runs, and its completion has
 * a place. A doorbell that cannot be true stops the queue.
 */
export function mayFetch(queue: QueueState): boolean {
  if (!queue.connected || queue.stopped || queue.drain) return false;
  const { u32, base } = queue.page;
  if ((u32[base + RING_CONTROL]! & 1) === 0) return false;
  if (queue.fetched === queue.tailSeen) {
    if (u32[base + TAIL] === queue.tailSeen) return false;
    // Ordered before the load of the descriptors that it announces.
    const tail = Atomics.load(u32, base + TAIL);
    if ((tail - queue.fetched) >>> 0 > queue.entries) return stop(queue, ringError.TAIL);
    queue.tailSeen = tail;
    if (tail === queue.fetched) return false;
  }
  return (queue.posted - queue.headSeen) >>> 0 < queue.entries || findPlace(queue);
}

function findPlace(queue: QueueState): boolean {
  const head = queue.page.u32[queue.page.base + COMPLETION_HEAD]!;
  const unread = (queue.posted - head) >>> 0;
  if (unread > queue.entries) return stop(queue, ringError.HEAD);
  queue.headSeen = head;
  return unread < queue.entries;
}

/** True when RING_CONTROL differs from what was acted on and nothing is under way. */
export function ringChanged(queue: QueueState): boolean {
  if (!queue.enabled || queue.busy) return false;
  return (queue.page.u32[queue.page.base + RING_CONTROL]! & 1) !== queue.ringSeen;
}

/** True when a turn would find something to do. Changes nothing, save for stopping a liar. */
export function hasWork(queue: QueueState, nowMs: number): boolean {
  if (queue.parked) return false;
  if (queue.busy) return queue.dueMs <= nowMs;
  return queue.enabled && (ringChanged(queue) || mayFetch(queue));
}

/** True when something will go on later without a doorbell. */
export function isWaiting(queue: QueueState): boolean {
  return queue.parked || queue.busy;
}
