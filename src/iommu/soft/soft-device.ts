// A device bound to a soft iommufd: attach, replace, detach, for its requester id and its PASIDs.
// Devices of one group share what is attached to each slot.
import { assert, isOsError } from '../../base/errors.js';
import type { IommuDevice } from '../iommufd.js';
import type { IovaRange } from '../requests.js';
import { releaseWhenSettled, type SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import { Hwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import { type PasidTable, plainSlot } from './pasid-table.js';

const attachCall = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';
const bindCall = 'VFIO_DEVICE_BIND_IOMMUFD';

/** Devices that the IOMMU cannot tell apart; each is in exactly one group. */
export class SoftGroup {
  /** What is attached, by slot: the plain requester id, or a PASID. */
  readonly slots = new Map<number, Slot>();
  readonly devices = new Set<SoftDevice>();
  owner: SoftContext | undefined;
}

interface Slot {
  hwpt: Hwpt;
  readonly devices: Set<SoftDevice>;
}

/** The function's side of the IOMMU, as its hardware would be. */
export interface SoftUnit {
  readonly pasids: PasidTable;
  readonly aperture: IovaRange;
  /** Ranges that no map may use while the device is attached: an MSI window, say. */
  readonly reserved: readonly IovaRange[];
  readonly group: SoftGroup;
  /** Who has it bound. */
  device: SoftDevice | undefined;
}

export class SoftDevice implements IommuDevice {
  readonly kind = 'device';
  readonly pageBytes = pageBytes;
  readonly id: number;
  readonly #context: SoftContext;
  readonly #unit: SoftUnit;

  /** @throws OsError `EINVAL` when bound already, `EPERM` when another context has the group. */
  constructor(context: SoftContext, unit: SoftUnit) {
    if (unit.device !== undefined) throw fail('EINVAL', bindCall, 'bound already');
    const { group } = unit;
    if (group.owner !== undefined && group.owner !== context) {
      throw fail('EPERM', bindCall, 'the group belongs to another context');
    }
    group.owner = context;
    unit.device = this;
    this.#context = context;
    this.#unit = unit;
    this.id = context.objects.add(this);
    group.devices.add(this);
    for (const [slot, { hwpt }] of group.slots) unit.pasids.set(slot, hwpt.root);
  }

  get pasidBits(): number {
    return this.#unit.pasids.pasidBits;
  }

  get aperture(): IovaRange {
    return this.#unit.aperture;
  }

  attach(ptId: number, pasid?: number): number {
    assert(this.#unit.device === this, 'attach of a closed device');
    const object = this.#context.objects.get(ptId);
    if (object === undefined) throw fail('ENOENT', attachCall, `object ${ptId}`);
    if (object.kind === 'ioas') return this.#attachIoas(object, pasid).id;
    if (object.kind !== 'hwpt') throw fail('EINVAL', attachCall, 'neither IOAS nor HWPT');
    this.#attachHwpt(object, pasid);
    return object.id;
  }

  detach(pasid?: number): void {
    const key = pasid ?? plainSlot;
    // PASID 0 is never attached; its slot is the plain one.
    if (pasid === 0) return;
    const slot = this.#unit.group.slots.get(key);
    if (!slot?.devices.delete(this)) return;
    if (key === plainSlot) slot.hwpt.ioas.unreserve(this);
    slot.hwpt.useCount -= 1;
    if (slot.devices.size === 0) {
      this.#unit.group.slots.delete(key);
      this.#program(key, 0);
    }
    this.#dropAuto(slot.hwpt);
    releaseWhenSettled(this.#context, [], []);
  }

  close(): void {
    if (this.#unit.device !== this) return;
    const { group } = this.#unit;
    for (const key of [...group.slots.keys()]) if (key !== plainSlot) this.detach(key);
    this.detach();
    // Others of the group may still be attached; this one sends nothing any more.
    for (const key of group.slots.keys()) this.#unit.pasids.set(key, 0);
    releaseWhenSettled(this.#context, [], []);
    group.devices.delete(this);
    if (group.devices.size === 0) group.owner = undefined;
    this.#unit.device = undefined;
    this.#context.objects.remove(this.id);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** An auto HWPT that fits, else a new one. */
  #attachIoas(ioas: Ioas, pasid: number | undefined): Hwpt {
    for (const hwpt of ioas.domains) {
      if (!hwpt.isAuto) continue;
      try {
        this.#attachHwpt(hwpt, pasid);
        return hwpt;
      } catch (error) {
        // Incompatible: the next one may fit.
        if (!isOsError(error, 'EINVAL')) throw error;
      }
    }
    // What would be refused anyway must not fill a table first; this is the order of the errnos.
    if (pasid === undefined) ioas.checkReservable(this.#unit.reserved, attachCall);
    this.#checkPasid(false, pasid);
    const options = { aperture: this.aperture, isPasid: false, isAuto: true };
    const hwpt = new Hwpt(this.#context, ioas, options, attachCall);
    hwpt.id = this.#context.objects.add(hwpt);
    try {
      this.#attachHwpt(hwpt, pasid);
    } catch (error) {
      this.#context.objects.remove(hwpt.id);
      hwpt.destroy();
      throw error;
    }
    return hwpt;
  }

  #attachHwpt(hwpt: Hwpt, pasid: number | undefined): void {
    const { group } = this.#unit;
    const key = pasid ?? plainSlot;
    const slot = pasid === 0 ? undefined : group.slots.get(key);
    const isReplace = slot?.devices.has(this) ?? false;
    if (isReplace && slot!.hwpt === hwpt) return;
    if (!isReplace && slot !== undefined && slot.hwpt !== hwpt) {
      throw fail('EINVAL', attachCall, 'the group is attached elsewhere');
    }
    const devices = isReplace ? [...slot!.devices] : [this];
    const reserving = pasid === undefined && slot?.hwpt.ioas !== hwpt.ioas ? devices : [];
    if (pasid === undefined && !isReplace && slot !== undefined) reserving.push(this);
    this.#reserve(hwpt.ioas, reserving);
    try {
      this.#checkPasid(hwpt.isPasid, pasid);
      if (!isSameRange(hwpt.aperture, this.aperture)) {
        throw fail('EINVAL', attachCall, 'the HWPT is for another aperture');
      }
    } catch (error) {
      for (const device of reserving) hwpt.ioas.unreserve(device);
      throw error;
    }
    if (slot === undefined) group.slots.set(key, { hwpt, devices: new Set([this]) });
    else if (!isReplace) slot.devices.add(this);
    hwpt.useCount += devices.length;
    this.#program(key, hwpt.root);
    if (isReplace) this.#leave(slot!, hwpt, pasid === undefined);
  }

  /** After a replace: takes the slot away from its old HWPT. */
  #leave(slot: Slot, next: Hwpt, isPlain: boolean): void {
    const old = slot.hwpt;
    slot.hwpt = next;
    old.useCount -= slot.devices.size;
    if (isPlain && old.ioas !== next.ioas) {
      for (const device of slot.devices) old.ioas.unreserve(device);
    }
    this.#dropAuto(old);
    releaseWhenSettled(this.#context, [], []);
  }

  #reserve(ioas: Ioas, devices: readonly SoftDevice[]): void {
    const done: SoftDevice[] = [];
    try {
      for (const device of devices) {
        ioas.reserve(device.#unit.reserved, device, attachCall);
        done.push(device);
      }
    } catch (error) {
      for (const device of done) ioas.unreserve(device);
      throw error;
    }
  }

  /** @throws OsError `EINVAL`, `EOPNOTSUPP` */
  #checkPasid(isPasidHwpt: boolean, pasid: number | undefined): void {
    const { slots } = this.#unit.group;
    if (pasid === undefined) {
      const hasPasids = [...slots.keys()].some((key) => key !== plainSlot);
      if (hasPasids && !isPasidHwpt) throw fail('EINVAL', attachCall, 'PASIDs are attached');
      return;
    }
    if (!isPasidHwpt) throw fail('EINVAL', attachCall, 'the HWPT is not for PASIDs');
    if (slots.get(plainSlot)?.hwpt.isPasid === false) {
      throw fail('EINVAL', attachCall, 'the plain HWPT is not for PASIDs');
    }
    // Linux reports success and does nothing.
    if (this.pasidBits === 0) throw fail('EOPNOTSUPP', attachCall, 'the device has no PASIDs');
    if (!Number.isInteger(pasid) || pasid < 1 || pasid >= 2 ** this.pasidBits) {
      throw fail('EINVAL', attachCall, `pasid ${pasid}`);
    }
  }

  #program(slot: number, root: number): void {
    for (const device of this.#unit.group.devices) device.#unit.pasids.set(slot, root);
  }

  #dropAuto(hwpt: Hwpt): void {
    if (!hwpt.isAuto || hwpt.useCount > 0) return;
    this.#context.objects.remove(hwpt.id);
    hwpt.destroy();
  }
}

function isSameRange(one: IovaRange, other: IovaRange): boolean {
  return one.start === other.start && one.last === other.last;
}
