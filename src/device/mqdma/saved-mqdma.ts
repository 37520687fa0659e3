// What an mqdma takes along when it migrates: what its queues share, then each queue.
import { isProtocolError, LessorError } from '../../base/errors.js';
import { bytes, struct, u32 } from '../../uapi/struct.js';
import type { ControlRegisters } from './control-registers.js';
import { mqdma } from './datasheet.js';
import type { QueueState } from './queue-state.js';
import { decodeQueue, encodeQueue, type QueueRules, savedQueueBytes } from './saved-queue.js';
import type { SharedState } from './shared-state.js';

const version = 1;
export const savedHeader = struct('mqdma_state', 16 + 4 * mqdma.faultPendingWords, {
  magic: u32,
  version: u32,
  queueCount: u32,
  dead: u32,
  faultPending: bytes(4 * mqdma.faultPendingWords),
});

export function saveMqdma(shared: SharedState, control: ControlRegisters): Uint8Array {
  const { queues, faultPending, bus } = shared;
  const state = new Uint8Array(savedHeader.sizeBytes + queues.length * savedQueueBytes);
  const value = {
    magic: mqdma.id,
    version,
    queueCount: queues.length,
    dead: control.dead,
    faultPending: new Uint8Array(faultPending.slice().buffer),
  };
  savedHeader.encodeAt(value, state, 0);
  const nowMs = bus.nowMs();
  queues.forEach((queue, index) => {
    state.set(encodeQueue(queue, nowMs), savedHeader.sizeBytes + index * savedQueueBytes);
  });
  return state;
}

/**
 * Takes over a state of a device with the same options.
 *
 * @throws LessorError `INVALID_ARGUMENT`; nothing is changed then.
 */
export function loadMqdma(
  shared: SharedState,
  control: ControlRegisters,
  rules: QueueRules,
  state: Uint8Array,
): void {
  const { value, queues } = decode(shared, rules, state);
  control.dead = value.dead;
  shared.faultPending.set(new Uint32Array(value.faultPending.buffer));
  queues.forEach((loaded, index) => {
    Object.assign(shared.queues[index] as QueueState, loaded);
  });
}

function decode(shared: SharedState, rules: QueueRules, state: Uint8Array) {
  try {
    const value = savedHeader.decodeAt(state, 0);
    const { queues, bus } = shared;
    const isOurs =
      value.magic === mqdma.id && value.version === version && value.queueCount === queues.length;
    const lengthBytes = savedHeader.sizeBytes + queues.length * savedQueueBytes;
    if (!isOurs || state.length !== lengthBytes) refuse('of another device or version');
    if (value.dead > 2 || (value.dead > 0 && !rules.faultInjection)) refuse('injected death');
    const nowMs = bus.nowMs();
    const loaded = queues.map((queue, index) => {
      const at = savedHeader.sizeBytes + index * savedQueueBytes;
      return decodeQueue(state.slice(at, at + savedQueueBytes), queue, rules, nowMs);
    });
    return { value, queues: loaded };
  } catch (error) {
    if (!isProtocolError(error)) throw error;
    throw new LessorError('INVALID_ARGUMENT', error.message, { cause: error });
  }
}

function refuse(what: string): never {
  throw new LessorError('INVALID_ARGUMENT', `mqdma_state: ${what}`);
}
