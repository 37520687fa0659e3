// DEVICE_SET_IRQS: between its flags, ranges and descriptors and the changes they mean.
import { LessorError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Fd } from '../os/fd.js';
import type { Decoded } from '../uapi/struct.js';
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
} from '../uapi/vfio.js';
import { irqSet } from '../uapi/vfio-user.js';
import type { EndpointIrq, IrqChange, MaskEventChange } from './endpoint.js';

type IrqSet = Decoded<typeof irqSet>;

const knownFlags = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
const actionFlags = {
  mask: VFIO_IRQ_SET_ACTION_MASK,
  unmask: VFIO_IRQ_SET_ACTION_UNMASK,
  trigger: VFIO_IRQ_SET_ACTION_TRIGGER,
} as const;

function refuse(field: keyof IrqSet | 'data', detail: string): never {
  throw new ProtocolError(`vfio_user_irq_set.${field}`, irqSet.offsets[field] ?? 20, detail);
}

function isOneBit(value: number): boolean {
  return value !== 0 && (value & (value - 1)) === 0;
}

function checkRange(set: IrqSet, irqs: readonly EndpointIrq[]): void {
  const { argsz, flags, index, start, count } = set;
  if (argsz < irqSet.sizeBytes) refuse('argsz', `${argsz}`);
  const irq = irqs[index];
  if (irq === undefined) refuse('index', `${index}`);
  if ((flags & ~knownFlags) !== 0) refuse('flags', `unknown bits in 0x${flags.toString(16)}`);
  if (!isOneBit(flags & VFIO_IRQ_SET_DATA_TYPE_MASK)) refuse('flags', 'not one DATA bit');
  if (!isOneBit(flags & VFIO_IRQ_SET_ACTION_TYPE_MASK)) refuse('flags', 'not one ACTION bit');
  if (start >= irq.count) refuse('start', `${start} of ${irq.count}`);
  if (start + count > irq.count) refuse('count', `${start} + ${count} of ${irq.count}`);
  const isTrigger = (flags & VFIO_IRQ_SET_ACTION_TRIGGER) !== 0;
  const isSingle = index === VFIO_PCI_ERR_IRQ_INDEX || index === VFIO_PCI_REQ_IRQ_INDEX;
  if (isSingle && (!isTrigger || count > 1)) refuse('index', `${index} takes one trigger`);
  if (count === 0) {
    if (start !== 0) refuse('start', `${start} with no count`);
    const isDisable = isTrigger && (flags & VFIO_IRQ_SET_DATA_NONE) !== 0;
    if (!isDisable) refuse('count', 'is 0');
  }
}

/** The one action that checked flags name. */
function actionOf(flags: number): keyof typeof actionFlags {
  if ((flags & VFIO_IRQ_SET_ACTION_TRIGGER) !== 0) return 'trigger';
  return (flags & VFIO_IRQ_SET_ACTION_MASK) !== 0 ? 'mask' : 'unmask';
}

function chosenVectors(set: IrqSet, data: Uint8Array): number[] {
  const vectors: number[] = [];
  const all = (set.flags & VFIO_IRQ_SET_DATA_NONE) !== 0;
  for (let i = 0; i < set.count; i++) {
    if (all || data[i] === 1) vectors.push(set.start + i);
  }
  return vectors;
}

/**
 * Checks a SET_IRQS and says what it asks for.
 *
 * @param payload - Of the message.
 * @param fds - What came with it. They become the change's when it binds.
 * @param refusedCount - Descriptors that the screening closed.
 * @throws ProtocolError `EINVAL`, LessorError `FD_REFUSED`; `fds` stay the caller's.
 */
export function decodeIrqChange(
  payload: Uint8Array,
  fds: readonly Fd[],
  refusedCount: number,
  irqs: readonly EndpointIrq[],
): IrqChange | MaskEventChange {
  const set = irqSet.decodeAt(payload, 0);
  checkRange(set, irqs);
  const { flags, index, start, count } = set;
  const isEventfd = (flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0;
  const dataBytes = (flags & VFIO_IRQ_SET_DATA_BOOL) !== 0 ? count : 0;
  const data = payload.subarray(irqSet.sizeBytes);
  if (data.length !== dataBytes) refuse('data', `${data.length} bytes instead of ${dataBytes}`);
  const fdCount = fds.length + refusedCount;
  if (!isEventfd && fdCount !== 0) refuse('flags', `${fdCount} descriptors without EVENTFD`);
  const action = actionOf(flags);
  if (!isEventfd) {
    if (count === 0) return { action: 'disable', index };
    return { action, index, vectors: chosenVectors(set, data) };
  }
  if (fdCount !== 0 && fdCount !== count) refuse('count', `${count} with ${fdCount} descriptors`);
  if (refusedCount > 0) throw new LessorError('FD_REFUSED', 'an interrupt needs an eventfd');
  if (action !== 'trigger') return { on: action, index, start, count, fds };
  if (fdCount === 0) return { action: 'unbind', index, start, count };
  return { action: 'bind', index, start, fds };
}

interface EncodedIrqChange {
  readonly payload: Uint8Array;
  readonly fds?: readonly Fd[];
}

function encodeSet(flags: number, index: number, start: number, count: number): Uint8Array {
  return irqSet.encode({ argsz: irqSet.sizeBytes, flags, index, start, count });
}

/** A range that the caller of the client chose. */
function checkOwnRange(start: number, count: number): void {
  const isExact = Number.isInteger(start) && Number.isInteger(count);
  if (isExact && start >= 0 && count >= 1 && start + count <= limits.vectorsPerLeaseMax) return;
  throw new LessorError('INVALID_ARGUMENT', `vectors ${start}..${start + count - 1}`);
}

function encodeVectors(change: Extract<IrqChange, { vectors: unknown }>): Uint8Array {
  const { index, vectors, action } = change;
  const actionFlag = actionFlags[action];
  const start = Math.min(...vectors);
  const count = Math.max(...vectors) - start + 1;
  checkOwnRange(start, count);
  if (count === new Set(vectors).size) {
    return encodeSet(VFIO_IRQ_SET_DATA_NONE | actionFlag, index, start, count);
  }
  const payload = new Uint8Array(irqSet.sizeBytes + count);
  const argsz = payload.length;
  const flags = VFIO_IRQ_SET_DATA_BOOL | actionFlag;
  irqSet.encodeAt({ argsz, flags, index, start, count }, payload, 0);
  for (const vector of vectors) payload[irqSet.sizeBytes + vector - start] = 1;
  return payload;
}

interface Bind {
  readonly index: number;
  readonly start: number;
  readonly fds: readonly Fd[];
}

/** One message for each `fdsMax` descriptors. */
function encodeBind(flags: number, bind: Bind, fdsMax: number): EncodedIrqChange[] {
  checkOwnRange(bind.start, bind.fds.length);
  const messages: EncodedIrqChange[] = [];
  for (let done = 0; done < bind.fds.length; done += fdsMax) {
    const fds = bind.fds.slice(done, done + fdsMax);
    const start = bind.start + done;
    messages.push({ payload: encodeSet(flags, bind.index, start, fds.length), fds });
  }
  return messages;
}

/** As `encodeIrqChange`, for the eventfds that masking signals. */
export function encodeMaskEvents(change: MaskEventChange, fdsMax: number): EncodedIrqChange[] {
  const { on, index, start, count, fds } = change;
  const flags = VFIO_IRQ_SET_DATA_EVENTFD | actionFlags[on];
  checkOwnRange(start, count);
  if (fds.length === 0) return [{ payload: encodeSet(flags, index, start, count) }];
  if (fds.length === count) return encodeBind(flags, change, fdsMax);
  throw new LessorError('INVALID_ARGUMENT', `${fds.length} eventfds for ${count} vectors`);
}

/**
 * Runs of vectors that are bound, and of those that are unbound, in order: no message can do both.
 *
 * @param fds - For `start` and on; undefined unbinds.
 */
export function bindRuns(
  index: number,
  start: number,
  fds: readonly (Fd | undefined)[],
): IrqChange[] {
  const changes: IrqChange[] = [];
  let from = 0;
  for (let to = 1; to <= fds.length; to++) {
    const isBound = fds[from] !== undefined;
    if (to < fds.length && (fds[to] !== undefined) === isBound) continue;
    const run = fds.slice(from, to).filter((fd) => fd !== undefined);
    changes.push(
      isBound
        ? { action: 'bind', index, start: start + from, fds: run }
        : { action: 'unbind', index, start: start + from, count: to - from },
    );
    from = to;
  }
  return changes;
}

/**
 * The messages that make a change, in order; binding takes several where the peer cannot receive
 * all descriptors at once.
 *
 * @param fdsMax - Descriptors that the peer receives with one message, at least 1.
 * @throws LessorError `INVALID_ARGUMENT` for vectors outside 0..2047 or none at all.
 */
export function encodeIrqChange(change: IrqChange, fdsMax: number): EncodedIrqChange[] {
  const eventfds = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  const none = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
  switch (change.action) {
    case 'disable':
      return [{ payload: encodeSet(none, change.index, 0, 0) }];
    case 'unbind':
      checkOwnRange(change.start, change.count);
      return [{ payload: encodeSet(eventfds, change.index, change.start, change.count) }];
    case 'bind':
      return encodeBind(eventfds, change, fdsMax);
    default:
      return change.vectors.length === 0 ? [] : [{ payload: encodeVectors(change) }];
  }
}
