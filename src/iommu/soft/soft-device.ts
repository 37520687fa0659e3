// A device bound to a soft iommufd: attach, replace, detach, for its requester id and its PASIDs.
import { assert, isOsError } from '../../base/errors.js';
import type { IommuDevice } from '../iommufd.js';
import type { IovaRange } from '../requests.js';
import { attachCall, attachSlot, detachSlot, replaceSlot } from './attach.js';
import { releaseWhenSettled, type SoftContext } from './context.js';
import { type AnyHwpt, Hwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import { plainSlot } from './pasid-table.js';
import type { SoftUnit } from './soft-unit.js';
import { accepts } from './traits.js';

const bindCall = 'VFIO_DEVICE_BIND_IOMMUFD';

export class SoftDevice implements IommuDevice {
  readonly kind = 'device';
  readonly id: number;
  readonly context: SoftContext;
  readonly unit: SoftUnit;

  /**
   * @param holdsContext - As a device file does, unlike what a file of the context stands for.
   * @throws OsError `EINVAL` when bound already; `EPERM`, `EBUSY` when the group is not free
   */
  constructor(context: SoftContext, unit: SoftUnit, holdsContext: boolean) {
    if (unit.device !== undefined) throw fail('EINVAL', bindCall, 'bound already');
    const { group, traits } = unit;
    group.claim(context, bindCall);
    unit.device = this;
    this.context = context;
    this.unit = unit;
    this.id = context.objects.add(this);
    group.devices.add(this);
    if (holdsContext) context.holders.add(this);
    for (const [key, { hwpt }] of group.slots) {
      const pasid = key === plainSlot ? undefined : key;
      if (pasid !== undefined && traits.pasidBits === 0) continue;
      if (accepts(traits, hwpt.format, pasid)) unit.pasids.set(key, hwpt.root);
    }
  }

  get pasidBits(): number {
    return this.unit.traits.pasidBits;
  }

  get aperture(): IovaRange {
    return this.unit.traits.format.aperture;
  }

  get pageBytes(): number {
    return this.unit.traits.format.pageBytes;
  }

  /** As VFIO: replaces when something is attached. */
  attach(ptId: number, pasid?: number): number {
    const key = pasid ?? plainSlot;
    const isAttached = this.unit.group.slots.get(key)?.devices.has(this) === true;
    return isAttached && pasid !== 0 ? this.replace(ptId, pasid) : this.attachFirst(ptId, pasid);
  }

  /**
   * As `attach`, and `EBUSY` when something is attached.
   *
   * @throws OsError
   */
  attachFirst(ptId: number, pasid?: number): number {
    return this.#change(ptId, pasid, attachSlot);
  }

  /**
   * As `attach`, and `EINVAL` when nothing is attached.
   *
   * @throws OsError
   */
  replace(ptId: number, pasid?: number): number {
    return this.#change(ptId, pasid, replaceSlot);
  }

  detach(pasid?: number): void {
    // PASID 0 is never attached; its slot is the plain one.
    if (pasid !== 0) detachSlot(this, pasid ?? plainSlot);
  }

  /** The id of what it has attached. */
  attachedTo(pasid?: number): number | undefined {
    const slot = pasid === 0 ? undefined : this.unit.group.slots.get(pasid ?? plainSlot);
    return slot?.devices.has(this) === true ? slot.hwpt.id : undefined;
  }

  close(): void {
    if (this.unit.device !== this) return;
    const { group, pasids } = this.unit;
    for (const key of [...group.slots.keys()]) if (key !== plainSlot) detachSlot(this, key);
    detachSlot(this, plainSlot);
    // Others of the group may still be attached; this one sends nothing any more.
    for (const key of group.slots.keys()) if (pasids.get(key) !== 0) pasids.set(key, 0);
    releaseWhenSettled(this.context, [], []);
    this.unit.forgetRequests();
    group.devices.delete(this);
    group.release();
    this.unit.device = undefined;
    this.context.objects.remove(this.id);
    this.context.dropHolder(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #change(ptId: number, pasid: number | undefined, change: typeof attachSlot): number {
    assert(this.unit.device === this, 'attach of a closed device');
    const object = this.context.objects.get(ptId);
    if (object === undefined) throw fail('ENOENT', attachCall, `object ${ptId}`);
    const isHwpt = object.kind === 'hwpt' || object.kind === 'nested';
    if (!isHwpt && object.kind !== 'ioas') throw fail('EINVAL', attachCall, 'no page table');
    const key = pasid ?? plainSlot;
    // The slot of PASID 0 is the plain one's; Linux attaches that.
    if (pasid !== undefined && !(Number.isInteger(pasid) && pasid > 0)) {
      throw fail('EINVAL', attachCall, `pasid ${pasid}`);
    }
    if (isHwpt) {
      change(this, object, key);
      return object.id;
    }
    return this.#changeToIoas(object, key, change).id;
  }

  /** An auto HWPT that fits, else a new one. */
  #changeToIoas(ioas: Ioas, key: number, change: typeof attachSlot): AnyHwpt {
    for (const hwpt of ioas.domains) {
      if (!hwpt.isAuto) continue;
      try {
        change(this, hwpt, key);
        return hwpt;
      } catch (error) {
        // Incompatible: the next one may fit.
        if (!isOsError(error, 'EINVAL')) throw error;
      }
    }
    const { format } = this.unit.traits;
    const options = { format, isPasid: false, isAuto: true, isNestParent: false };
    const { objects } = this.context;
    const hwpt = new Hwpt(this.context, ioas, options, attachCall);
    hwpt.id = objects.reserve();
    try {
      if (change === attachSlot) {
        attachSlot(this, hwpt, key, () => hwpt.join(attachCall));
      } else {
        hwpt.join(attachCall);
        change(this, hwpt, key);
      }
    } catch (error) {
      objects.remove(hwpt.id);
      hwpt.destroy();
      throw error;
    }
    objects.publish(hwpt.id, hwpt);
    return hwpt;
  }
}
