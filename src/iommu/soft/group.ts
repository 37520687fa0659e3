// Devices that the IOMMU cannot tell apart: what is attached, to which slot, and who owns them.

import type { SoftContext } from './context.js';
import type { AnyHwpt } from './hwpt.js';
import { fail } from './objects.js';
import type { SoftDevice } from './soft-device.js';
import type { SoftUnit } from './soft-unit.js';

/** One attach of a group's slot; page requests and their answers belong to it. */
export interface AttachHandle {
  /** Who attached. */
  readonly device: SoftDevice;
}

/** What the plain requester id, or a PASID, of a whole group translates by. */
export interface Slot {
  hwpt: AnyHwpt;
  handle: AttachHandle;
  /** Never empty. */
  readonly devices: Set<SoftDevice>;
}

/** What a driver of the host does with a device that it drives. */
export type DriverUse =
  /** Leaves the translation to the host, as nearly all do. */
  | 'host translation'
  /** Has made its own, without asking for ownership. */
  | 'own translation';

export class SoftGroup {
  /** What is attached, by slot: the plain requester id, or a PASID. */
  readonly slots = new Map<number, Slot>();
  /** All of it, bound or not. */
  readonly units = new Set<SoftUnit>();
  /** Those that are bound. */
  readonly devices = new Set<SoftDevice>();
  readonly #drivers = new Map<SoftUnit, DriverUse>();
  #owner: SoftContext | undefined;

  /**
   * Takes the group for a context, once more for each of its devices.
   *
   * @throws OsError `EPERM` when another context has it, or a driver of the host leaves the
   *   translation of a member to the host; `EBUSY` when one has made its own
   */
  claim(context: SoftContext, call: string): void {
    if (this.#owner === context) return;
    if (this.#owner !== undefined) throw fail('EPERM', call, 'another context has the group');
    const uses = [...this.#drivers.values()];
    if (uses.includes('host translation')) throw fail('EPERM', call, 'a driver has a member');
    if (uses.length > 0) throw fail('EBUSY', call, 'a driver translates for a member');
    this.#owner = context;
  }

  /** A device left; with the last one the group is free. */
  release(): void {
    if (this.devices.size === 0) this.#owner = undefined;
  }

  /**
   * A driver of the host takes a unit, until disposed.
   *
   * @throws OsError `EBUSY` when a context owns the group
   */
  useByDriver(unit: SoftUnit, use: DriverUse): Disposable {
    if (this.#owner !== undefined) throw fail('EBUSY', 'probe', 'a context owns the group');
    this.#drivers.set(unit, use);
    return { [Symbol.dispose]: () => this.#drivers.delete(unit) };
  }
}
