// What a group's slots translate by: attach, replace and detach, in the order of checks that Linux
// has. The requester id of a device is a slot as the PASIDs are, with reserved ranges on top.
// @see linux drivers/iommu/iommufd/device.c iommufd_hw_pagetable_attach, iommufd_device_do_replace
import { releaseWhenSettled, type SoftContext } from './context.js';
import type { AttachHandle, SoftGroup } from './group.js';
import type { AnyHwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import { plainSlot } from './pasid-table.js';
import type { SoftDevice } from './soft-device.js';
import type { SoftUnit } from './soft-unit.js';
import { accepts, enforcedRanges } from './traits.js';

export const attachCall = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';

/**
 * Attaches a device whose slot it has nothing attached to.
 *
 * @param complete - Finishes the HWPT when nothing else stands against the first attach.
 * @throws OsError `EBUSY` when it has; `EINVAL`, `EADDRINUSE`, `EOPNOTSUPP`, `ENODEV`
 */
export function attachSlot(
  device: SoftDevice,
  hwpt: AnyHwpt,
  key: number,
  complete?: () => void,
): void {
  const { group } = device.unit;
  const slot = group.slots.get(key);
  if (slot?.devices.has(device)) throw fail('EBUSY', attachCall, 'attached already');
  if (slot !== undefined && slot.hwpt !== hwpt) {
    throw fail('EINVAL', attachCall, 'the group is attached elsewhere');
  }
  const { ioas } = hwpt.paging;
  if (key === plainSlot) reserve(ioas, [device]);
  if (slot !== undefined) {
    slot.devices.add(device);
  } else {
    try {
      checkPasid(device, hwpt, key);
      program(group, key, hwpt, undefined, complete);
    } catch (error) {
      if (key === plainSlot) ioas.unreserve(device);
      throw error;
    }
    group.slots.set(key, { hwpt, handle: { device }, devices: new Set([device]) });
  }
  hwpt.useCount += 1;
}

/**
 * Moves what a whole group has attached to a slot, without a gap; a failure leaves all as it was.
 *
 * @throws OsError `EINVAL` also when the device has nothing attached; `EADDRINUSE`, `EOPNOTSUPP`,
 *   `ENODEV`
 */
export function replaceSlot(device: SoftDevice, hwpt: AnyHwpt, key: number): void {
  const { group } = device.unit;
  const slot = group.slots.get(key);
  if (!slot?.devices.has(device)) throw fail('EINVAL', attachCall, 'nothing is attached');
  const old = slot.hwpt;
  if (old === hwpt) return;
  const moves = key === plainSlot && old.paging.ioas !== hwpt.paging.ioas;
  const devices = [...slot.devices];
  if (moves) reserve(hwpt.paging.ioas, devices);
  try {
    checkPasid(device, hwpt, key);
    program(group, key, hwpt, old);
  } catch (error) {
    if (moves) unreserve(hwpt.paging.ioas, devices);
    throw error;
  }
  endHandle(old, slot.handle);
  if (moves) unreserve(old.paging.ioas, devices);
  slot.hwpt = hwpt;
  slot.handle = { device };
  hwpt.useCount += devices.length;
  old.useCount -= devices.length;
  forgetRequests(group);
  dropUnused(device.context, old);
}

/** Without an attachment it does nothing. */
export function detachSlot(device: SoftDevice, key: number): void {
  const { group } = device.unit;
  const slot = group.slots.get(key);
  if (!slot?.devices.delete(device)) return;
  const { hwpt } = slot;
  if (slot.devices.size === 0) {
    group.slots.delete(key);
    program(group, key, undefined, hwpt);
    endHandle(hwpt, slot.handle);
    forgetRequests(group);
  }
  if (key === plainSlot) hwpt.paging.ioas.unreserve(device);
  hwpt.useCount -= 1;
  dropUnused(device.context, hwpt);
}

/** Whether an HWPT and a slot go together. @throws OsError `EINVAL`, `EOPNOTSUPP` */
function checkPasid(device: SoftDevice, hwpt: AnyHwpt, key: number): void {
  const { slots, units } = device.unit.group;
  if (key === plainSlot) {
    if (hwpt.isPasid) return;
    for (const other of slots.keys()) {
      if (other !== plainSlot) throw fail('EINVAL', attachCall, 'PASIDs are attached');
    }
    return;
  }
  if (!hwpt.isPasid) throw fail('EINVAL', attachCall, 'the HWPT is not for PASIDs');
  if (slots.get(plainSlot)?.hwpt.isPasid === false) {
    throw fail('EINVAL', attachCall, 'the plain HWPT is not for PASIDs');
  }
  if (device.pasidBits === 0) throw fail('EOPNOTSUPP', attachCall, 'the device has no PASIDs');
  for (const { traits } of units) {
    if (traits.pasidBits > 0 && key >= 2 ** traits.pasidBits) {
      throw fail('EINVAL', attachCall, `pasid ${key}`);
    }
  }
}

/**
 * Points the hardware of every member at a table; undefined blocks. What is not bound stays
 * blocked.
 *
 * @throws OsError `EINVAL`, `ENODEV`, or what a unit's own hardware says: then none has changed
 */
function program(
  group: SoftGroup,
  key: number,
  hwpt: AnyHwpt | undefined,
  old: AnyHwpt | undefined,
  complete?: () => void,
): void {
  const pasid = key === plainSlot ? undefined : key;
  const done: SoftUnit[] = [];
  try {
    for (const unit of group.units) {
      const { traits } = unit;
      if (pasid !== undefined && traits.pasidBits === 0) continue;
      if (hwpt !== undefined && !accepts(traits, hwpt.format, pasid)) {
        throw fail('EINVAL', attachCall, 'the IOMMU cannot use this page table');
      }
      traits.onProgram?.(hwpt?.format, pasid);
      done.push(unit);
      if (hwpt?.fault !== undefined && !traits.hasPageRequests) {
        throw fail('ENODEV', attachCall, 'the device sends no page requests');
      }
    }
    complete?.();
  } catch (error) {
    for (const { traits } of done) traits.onProgram?.(old?.format, pasid);
    throw error;
  }
  for (const unit of done) if (unit.device !== undefined) unit.pasids.set(key, hwpt?.root ?? 0);
}

/** Every ungiven answer to a page request of this attach is INVALID. */
function endHandle(hwpt: AnyHwpt, handle: AttachHandle): void {
  hwpt.fault?.endHandle(handle);
}

/** Without a fault-capable HWPT no unfinished group of page requests is kept. */
function forgetRequests(group: SoftGroup): void {
  for (const { hwpt } of group.slots.values()) if (hwpt.fault !== undefined) return;
  for (const unit of group.units) unit.forgetRequests();
}

function reserve(ioas: Ioas, devices: readonly SoftDevice[]): void {
  const done: SoftDevice[] = [];
  try {
    for (const device of devices) {
      ioas.reserve(enforcedRanges(device.unit.traits), device, attachCall);
      done.push(device);
    }
  } catch (error) {
    unreserve(ioas, done);
    throw error;
  }
}

function unreserve(ioas: Ioas, devices: readonly SoftDevice[]): void {
  for (const device of devices) ioas.unreserve(device);
}

/** An auto HWPT ends with its last device. What is not used by the device any more is let go. */
function dropUnused(context: SoftContext, hwpt: AnyHwpt): void {
  if (hwpt.kind === 'hwpt' && hwpt.isAuto && hwpt.useCount === 0) {
    context.objects.remove(hwpt.id);
    hwpt.destroy();
  }
  releaseWhenSettled(context, [], []);
}
