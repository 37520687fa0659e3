// The interrupts of a function in the kernel: the best kind of them that the device and the system
// have, bound to the eventfds of whoever leases them.
import type { Clock } from '../../base/clock.js';
import { isOsError, LessorError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import {
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../../uapi/vfio.js';
import { VectorInterrupts } from './interrupts-vectors.js';
import { IntxInterrupt } from './intx.js';
import type { VfioDevice } from './types.js';

export type InterruptKind = 'msi-x' | 'msi' | 'intx' | 'none';

export interface VfioInterrupts extends AsyncDisposable {
  readonly kind: InterruptKind;
  /** What the system gave: it may be less than the device has. */
  readonly vectorCount: number;
  /**
   * Binds a vector to an eventfd, or unbinds it. Takes ownership of `target` in every outcome.
   * Unbinding resolves when no signal can be under way, and the descriptor is closed.
   *
   * @throws LessorError `INVALID_ARGUMENT`, `FD_REFUSED`, `FUNCTION_GONE`; OsError: a vector that
   *   could not be bound to something else rings nothing
   */
  bind(vector: number, target: Fd | undefined): Promise<void>;
  /** Takes all vectors away and closes what was bound. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface InterruptParts {
  readonly events: EventOs;
  readonly clock: Clock;
  readonly log: Logger;
}

const indexOf = {
  'msi-x': VFIO_PCI_MSIX_IRQ_INDEX,
  msi: VFIO_PCI_MSI_IRQ_INDEX,
  intx: VFIO_PCI_INTX_IRQ_INDEX,
} as const;

/** Best first. */
const kinds = ['msi-x', 'msi', 'intx'] as const;

const none: VfioInterrupts = {
  kind: 'none',
  vectorCount: 0,
  async bind(vector, target) {
    target?.close();
    throw new LessorError('INVALID_ARGUMENT', `vector ${vector} of 0`);
  },
  async [Symbol.asyncDispose]() {},
};

/**
 * Enables the interrupts of a device: MSI-X, else MSI, else INTx, else none, as far as the device
 * has them and the system has something left to give.
 *
 * @param among - The kinds to choose from.
 * @throws LessorError `FUNCTION_GONE`
 */
export async function openInterrupts(
  device: VfioDevice,
  parts: InterruptParts,
  among: readonly (typeof kinds)[number][] = kinds,
): Promise<VfioInterrupts> {
  for (const kind of kinds) {
    if (!among.includes(kind)) continue;
    const count = countOf(device, kind);
    if (count === 0) continue;
    const opened = await tryOpen(device, parts, kind, count);
    if (opened === undefined) continue;
    if (opened.vectorCount < count) {
      const { vectorCount } = opened;
      parts.log.warn('fewer interrupts than the device has', { kind, count, vectorCount });
    }
    return opened;
  }
  return none;
}

function countOf(device: VfioDevice, kind: (typeof kinds)[number]): number {
  const irq = device.irqs.get(indexOf[kind]);
  return irq === undefined || (irq.flags & VFIO_IRQ_INFO_EVENTFD) === 0 ? 0 : irq.count;
}

async function tryOpen(
  device: VfioDevice,
  parts: InterruptParts,
  kind: (typeof kinds)[number],
  count: number,
): Promise<VfioInterrupts | undefined> {
  try {
    return kind === 'intx'
      ? await IntxInterrupt.enable(device, parts)
      : await VectorInterrupts.enable(device, parts.events, indexOf[kind], count);
  } catch (error) {
    if (!isOsError(error)) throw error;
    parts.log.warn('interrupts of a kind cannot be had', { kind, error: error.message });
    return undefined;
  }
}
