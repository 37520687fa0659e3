// A VFIO device by bytes: bind, attach, detach, with their structures of several lengths.

import { describe, expect, test } from 'vitest';
import { iommuDestroy, iommuIoasAlloc } from '../../../uapi/iommufd-ioas.js';
import type { Struct } from '../../../uapi/struct.js';
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_RESET,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceDetachIommufdPt,
} from '../../../uapi/vfio.js';
import { errnoOf } from '../../testing/errno-of.js';
import { createSoftCaller } from '../../testing/soft-caller.js';
import { SoftDeviceFile } from './soft-device-file.js';

const pasidFlag = 1;

function setUp() {
  const caller = createSoftCaller();
  const { userMemory: memory, files, createUnit } = caller;
  const unit = createUnit({ pasidBits: 4 });
  const device = new SoftDeviceFile({ unit, memory, files });
  const iommufd = files.add({ kind: 'iommufd', file: caller.file });

  function ioctl(request: number, argument: Uint8Array | bigint): number | string {
    return errnoOf(() => device.ioctl(request, argument));
  }

  function send<T extends object>(request: number, struct: Struct<T>, fields: Partial<T>) {
    const bytes = new Uint8Array(struct.sizeBytes);
    struct.encodeAt({ ...struct.decode(bytes), argsz: struct.sizeBytes, ...fields }, bytes, 0);
    return { result: ioctl(request, bytes), fields: struct.decode(bytes), bytes };
  }

  type Fields<C> = C extends Struct<infer T> ? Partial<T> : never;
  return {
    ...caller,
    unit,
    device,
    deviceIoctl: ioctl,
    iommufdNumber: iommufd,
    bind: (fields: Fields<typeof vfioDeviceBindIommufd> = {}) =>
      send(VFIO_DEVICE_BIND_IOMMUFD, vfioDeviceBindIommufd, { iommufd, ...fields }),
    attach: (fields: Fields<typeof vfioDeviceAttachIommufdPt>) =>
      send(VFIO_DEVICE_ATTACH_IOMMUFD_PT, vfioDeviceAttachIommufdPt, fields),
    detach: (fields: Fields<typeof vfioDeviceDetachIommufdPt> = {}) =>
      send(VFIO_DEVICE_DETACH_IOMMUFD_PT, vfioDeviceDetachIommufdPt, fields),
  };
}

function setUpBound() {
  const all = setUp();
  const ioasId = all.call(iommuIoasAlloc, {}).fields.out_ioas_id;
  const devId = all.bind().fields.out_devid;
  const flags = 8;
  const capable = all.iommufd.hwptAlloc({ flags, devId, ptId: ioasId });
  return { ...all, ioasId, devId, capable };
}

describe('VFIO_DEVICE_BIND_IOMMUFD', () => {
  test('gives the id of the device object; everything else waits for it', () => {
    const { bind, attach, deviceIoctl, call } = setUp();
    expect(attach({ pt_id: 1 }).result).toBe('EINVAL');
    expect(deviceIoctl(VFIO_DEVICE_RESET, 0n)).toBe('EINVAL');
    const bound = bind();
    expect(bound).toMatchObject({ result: 0, fields: { argsz: 24, out_devid: 1 } });
    expect(call(iommuDestroy, { id: 1 }).result).toBe('EBUSY');
    expect(deviceIoctl(VFIO_DEVICE_RESET, 0n)).toBe('ENOTTY');
    expect(bind().result).toBe('EINVAL');
  });

  test('lengths, then flags and a negative descriptor, then bound already, then the file', () => {
    const { bind, deviceIoctl, files, memory } = setUp();
    const { bytes } = bind({ flags: 2 });
    expect(deviceIoctl(VFIO_DEVICE_BIND_IOMMUFD, bytes.subarray(0, 3))).toBe('EFAULT');
    expect(bind({ argsz: 15 }).result).toBe('EINVAL');
    const long = new Uint8Array(32);
    long.set(bytes);
    long.set([32]);
    expect(deviceIoctl(VFIO_DEVICE_BIND_IOMMUFD, long)).toBe('EINVAL');
    long.set([1], 24);
    expect(deviceIoctl(VFIO_DEVICE_BIND_IOMMUFD, long)).toBe('E2BIG');
    for (const change of [{ flags: 2 }, { iommufd: -1 }]) {
      expect(bind(change).result).toBe('EINVAL');
    }
    expect(bind({ iommufd: 77 }).result).toBe('EBADF');
    const other = files.add({ kind: 'memory', fd: memory.create(4096) });
    expect(bind({ iommufd: other }).result).toBe('EBADFD');
    expect(bind({ argsz: 16 }).result).toBe(0);
    expect(bind({ iommufd: 77 }).result).toBe('EINVAL');
  });

  test('a token is read, before the descriptor is looked at, and refused', () => {
    const { bind, userMemory } = setUp();
    const readable = userMemory.place(new Uint8Array(16), false);
    expect(bind({ flags: 1, token_uuid_ptr: 0n, iommufd: 77 }).result).toBe('EFAULT');
    expect(bind({ flags: 1, argsz: 16 }).result).toBe('EFAULT');
    expect(bind({ flags: 1, token_uuid_ptr: readable, iommufd: 77 }).result).toBe('EINVAL');
    expect(bind({ flags: 3 }).result).toBe('EINVAL');
    bind();
    expect(bind({ flags: 1, token_uuid_ptr: 0n }).result).toBe('EINVAL');
  });

  test('a device whose id cannot be written is not bound', () => {
    const { bind, deviceIoctl, userMemory, unit, iommufdNumber } = setUp();
    const { bytes } = bind({ iommufd: -1 });
    new DataView(bytes.buffer).setInt32(8, iommufdNumber, true);
    const place = userMemory.place(bytes, false);
    expect(deviceIoctl(VFIO_DEVICE_BIND_IOMMUFD, place)).toBe('EFAULT');
    expect(unit.device).toBeUndefined();
    expect(bind()).toMatchObject({ result: 0, fields: { out_devid: 1 } });
  });

  test('close gives the object up', () => {
    const { bind, device, call } = setUp();
    bind();
    device.close();
    expect(call(iommuDestroy, { id: 1 }).result).toBe('ENOENT');
    expect(bind().result).toBe(0);
  });
});

describe('VFIO_DEVICE_ATTACH_IOMMUFD_PT and DETACH', () => {
  test('the id of the page table comes back; a PASID is looked at with its flag alone', () => {
    const { attach, detach, ioasId, capable } = setUpBound();
    const auto = attach({ argsz: 12, pt_id: ioasId, pasid: 0xffff_ffff });
    expect(auto).toMatchObject({ result: 0, fields: { pt_id: 4 } });
    expect(attach({ pt_id: capable })).toMatchObject({ result: 0, fields: { pt_id: capable } });
    const tagged = { flags: pasidFlag, pt_id: capable, pasid: 5 };
    expect(attach(tagged)).toMatchObject({ result: 0, fields: tagged });
    expect(attach({ ...tagged, pasid: 16 }).result).toBe('EINVAL');
    expect(detach({ flags: pasidFlag, pasid: 5 }).result).toBe(0);
    expect(detach({ argsz: 8 }).result).toBe(0);
    expect(detach().result).toBe(0);
  });

  test('lengths and flags before ids; nothing is written back on an error', () => {
    const { attach, detach, deviceIoctl } = setUpBound();
    const none = attach({ pt_id: 99 });
    expect(none).toMatchObject({ result: 'ENOENT', fields: { pt_id: 99 } });
    expect(attach({ pt_id: 99, argsz: 11 }).result).toBe('EINVAL');
    expect(attach({ pt_id: 99, flags: 2 }).result).toBe('EINVAL');
    expect(attach({ pt_id: 99, flags: pasidFlag, argsz: 15 }).result).toBe('EINVAL');
    expect(detach({ argsz: 7 }).result).toBe('EINVAL');
    expect(detach({ flags: 2 }).result).toBe('EINVAL');
    expect(detach({ flags: pasidFlag, argsz: 11 }).result).toBe('EINVAL');
    const request = VFIO_DEVICE_ATTACH_IOMMUFD_PT;
    expect(deviceIoctl(request, none.bytes.subarray(0, 11))).toBe('EFAULT');
    none.bytes[4] = pasidFlag;
    expect(deviceIoctl(request, none.bytes.subarray(0, 15))).toBe('EFAULT');
    const { bytes } = detach({ flags: 2 });
    expect(deviceIoctl(VFIO_DEVICE_DETACH_IOMMUFD_PT, bytes.subarray(0, 7))).toBe('EFAULT');
  });

  test('A9b a PASID stays attached when the id cannot be written, the plain one does not', () => {
    const { attach, deviceIoctl, userMemory, capable, unit, call } = setUpBound();
    attach({ pt_id: capable });
    const { bytes } = attach({ flags: pasidFlag, pt_id: 99, pasid: 3 });
    new DataView(bytes.buffer).setUint32(8, capable, true);
    const place = userMemory.place(bytes, false);
    expect(deviceIoctl(VFIO_DEVICE_ATTACH_IOMMUFD_PT, place)).toBe('EFAULT');
    expect([...unit.group.slots.keys()]).toEqual([3]);
    expect(call(iommuDestroy, { id: capable }).result).toBe('EBUSY');
  });
});
