// Calls by bytes about address spaces: pointers, what is written back, and what is undone.

import { describe, expect, test } from 'vitest';
import { MiB } from '../../../base/units.js';
import {
  iommuDestroy,
  iommuIoasAlloc,
  iommuIoasAllowIovas,
  iommuIoasCopy,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasMapFile,
  iommuIoasUnmap,
  iommuIovaRange,
} from '../../../uapi/iommufd-ioas.js';
import { IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP_FILE } from '../../../uapi/iommufd-requests.js';
import { u64Max } from '../../requests.js';
import { errnoOf } from '../../testing/errno-of.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

const FIXED = 1;
const W = 2;
const R = 4;
const PAGE = 4096n;

function setUp() {
  const caller = createSoftCaller();
  const { call, files, memory } = caller;
  const ioasId = call(iommuIoasAlloc, {}).fields.out_ioas_id;
  const fd = files.add({ kind: 'memory', fd: memory.create(8 * MiB) });
  const good = { flags: FIXED | R | W, ioas_id: ioasId, fd, length: PAGE, iova: 0x10000n };
  return { ...caller, ioasId, good };
}

/** A device whose aperture leaves one range, and whose reserved window makes it two. */
function attachDevice({ iommufd, createUnit, ioasId }: ReturnType<typeof setUp>) {
  const reserved = [{ start: 0x10_0000n, last: 0x1f_ffffn }];
  const device = iommufd.bind(createUnit({ reserved }));
  device.attach(ioasId);
  return device;
}

describe('IOMMU_IOAS_ALLOC and IOMMU_DESTROY', () => {
  test('the id is written back, and nothing on an error', () => {
    const { call } = createSoftCaller();
    expect(call(iommuIoasAlloc, {}).fields).toEqual({ size: 12, flags: 0, out_ioas_id: 1 });
    const refused = call(iommuIoasAlloc, { flags: 1, out_ioas_id: 77 });
    expect(refused.result).toBe('EOPNOTSUPP');
    expect(refused.fields.out_ioas_id).toBe(77);
    expect(call(iommuDestroy, { id: 1 }).result).toBe(0);
    expect(call(iommuDestroy, { id: 1 }).result).toBe('ENOENT');
    expect(call(iommuDestroy, { id: 0xffff_ffff }).result).toBe('ENOENT');
  });

  test('D3b nothing is allocated when the id cannot be written', () => {
    const { call, ioctl, userMemory } = createSoftCaller();
    const bytes = iommuIoasAlloc.encode({ size: 12, flags: 0, out_ioas_id: 0 });
    expect(ioctl(IOMMU_IOAS_ALLOC, userMemory.place(bytes, false))).toBe('EFAULT');
    expect(call(iommuIoasAlloc, {}).fields.out_ioas_id).toBe(1);
  });
});

describe('IOMMU_IOAS_IOVA_RANGES', () => {
  test('ranges up to the room, and how many there are', () => {
    const caller = setUp();
    attachDevice(caller);
    const { call, userMemory, ioasId } = caller;
    const room = new Uint8Array(48).fill(0xee);
    const allowed_iovas = userMemory.place(room);
    const request = { ioas_id: ioasId, allowed_iovas };
    const all = call(iommuIoasIovaRanges, { ...request, num_iovas: 3 });
    expect(all).toMatchObject({
      result: 0,
      fields: { num_iovas: 2, allowed_iovas, out_iova_alignment: PAGE },
    });
    expect(iommuIovaRange.decodeAt(room, 0)).toEqual({ start: 0n, last: 0xf_ffffn });
    expect(iommuIovaRange.decodeAt(room, 16)).toEqual({ start: 0x20_0000n, last: 2n ** 48n - 1n });
    expect(room.subarray(32)).toEqual(new Uint8Array(16).fill(0xee));

    room.fill(0xee);
    const one = call(iommuIoasIovaRanges, { ...request, num_iovas: 1 });
    expect(one).toMatchObject({
      result: 'EMSGSIZE',
      fields: { num_iovas: 2, out_iova_alignment: PAGE },
    });
    expect(iommuIovaRange.decodeAt(room, 0).last).toBe(0xf_ffffn);
    expect(room.subarray(16)).toEqual(new Uint8Array(32).fill(0xee));
  });

  test('a pointer is looked at only where something is written', () => {
    const { call, ioasId } = setUp();
    const request = { ioas_id: ioasId, allowed_iovas: 0n };
    const probe = call(iommuIoasIovaRanges, { ...request, num_iovas: 0 });
    expect(probe).toMatchObject({ result: 'EMSGSIZE', fields: { num_iovas: 1 } });
    const fault = call(iommuIoasIovaRanges, { ...request, num_iovas: 1, out_iova_alignment: 5n });
    expect(fault).toMatchObject({
      result: 'EFAULT',
      fields: { num_iovas: 1, out_iova_alignment: 5n },
    });
  });

  test('a range that fits is written although the next does not', () => {
    const caller = setUp();
    attachDevice(caller);
    const room = new Uint8Array(16);
    const allowed_iovas = caller.userMemory.place(room);
    const request = { ioas_id: caller.ioasId, allowed_iovas, num_iovas: 2 };
    expect(caller.call(iommuIoasIovaRanges, request).result).toBe('EFAULT');
    expect(iommuIovaRange.decode(room).last).toBe(0xf_ffffn);
  });

  test('reserved before the id, the id before the pointer', () => {
    const { call } = setUp();
    const bad = { __reserved: 1, ioas_id: 99, num_iovas: 1 };
    expect(call(iommuIoasIovaRanges, bad).result).toBe('EOPNOTSUPP');
    expect(call(iommuIoasIovaRanges, { ...bad, __reserved: 0 }).result).toBe('ENOENT');
  });
});

describe('IOMMU_IOAS_ALLOW_IOVAS', () => {
  function allow(caller: ReturnType<typeof setUp>, ranges: [bigint, bigint][], more = 0) {
    const room = new Uint8Array(ranges.length * 16);
    ranges.forEach(([start, last], at) => {
      iommuIovaRange.encodeAt({ start, last }, room, at * 16);
    });
    const allowed_iovas = caller.userMemory.place(room);
    const num_iovas = ranges.length + more;
    return caller.call(iommuIoasAllowIovas, { ioas_id: caller.ioasId, num_iovas, allowed_iovas });
  }

  test('the list decides where an automatic map goes', () => {
    const caller = setUp();
    expect(allow(caller, [[0x40_0000n, 0x4f_ffffn]]).result).toBe(0);
    const { good, call } = caller;
    const mapped = call(iommuIoasMapFile, { ...good, flags: R });
    expect(mapped.fields.iova).toBe(0x40_0000n);
    expect(call(iommuIoasAllowIovas, { ioas_id: good.ioas_id }).result).toBe(0);
    expect(call(iommuIoasMapFile, { ...good, flags: R }).fields.iova).toBe(PAGE);
  });

  test('what is wrong with an entry decides before an unreadable one behind it', () => {
    const caller = setUp();
    expect(allow(caller, [[5n, 5n]], 1).result).toBe('EINVAL');
    expect(
      allow(
        caller,
        [
          [0n, 9n],
          [9n, 20n],
        ],
        1,
      ).result,
    ).toBe('EINVAL');
    expect(allow(caller, [[0n, 9n]], 1).result).toBe('EFAULT');
  });

  test('a list that fails leaves the old one; the id comes before the entries', () => {
    const caller = setUp();
    allow(caller, [[0x40_0000n, 0x4f_ffffn]]);
    expect(allow(caller, [[0x80_0000n, 0x8f_ffffn]], 1).result).toBe('EFAULT');
    const { good, call } = caller;
    expect(call(iommuIoasMapFile, { ...good, flags: R }).fields.iova).toBe(0x40_0000n);
    const nowhere = { ioas_id: 99, num_iovas: 1, allowed_iovas: 0n };
    expect(call(iommuIoasAllowIovas, nowhere).result).toBe('ENOENT');
    expect(call(iommuIoasAllowIovas, { ...nowhere, __reserved: 1 }).result).toBe('EOPNOTSUPP');
  });
});

describe('IOMMU_IOAS_MAP and IOMMU_IOAS_COPY', () => {
  test('the iova is written back; a reserved field comes first', () => {
    const { call, ioasId } = setUp();
    const request = { ioas_id: ioasId, flags: R | W, user_va: 0x7000n, length: PAGE };
    const mapped = call(iommuIoasMap, { ...request, iova: 5n });
    expect(mapped).toMatchObject({ result: 0, fields: { ...request, iova: PAGE } });
    const reserved = { ...request, __reserved: 1, ioas_id: 99, length: u64Max };
    expect(call(iommuIoasMap, reserved).result).toBe('EOPNOTSUPP');
    const copy = { flags: R, dst_ioas_id: ioasId, src_ioas_id: ioasId, length: PAGE };
    const copied = call(iommuIoasCopy, { ...copy, src_iova: PAGE });
    expect(copied).toMatchObject({ result: 0, fields: { ...copy, dst_iova: 0x2000n } });
    const lost = call(iommuIoasCopy, { ...copy, src_iova: 0x9000n, dst_iova: 5n });
    expect(lost).toMatchObject({ result: 'ENOENT', fields: { dst_iova: 5n } });
    const other = call(iommuIoasCopy, { ...copy, src_iova: PAGE, src_ioas_id: 99 });
    expect(other.result).toBe('ENOENT');
  });
});

describe('IOMMU_IOAS_MAP_FILE and IOMMU_IOAS_UNMAP', () => {
  test('iova and length are written back', () => {
    const { call, good, ioasId } = setUp();
    expect(call(iommuIoasMapFile, good)).toMatchObject({ result: 0, fields: good });
    const again = call(iommuIoasMapFile, good);
    expect(again).toMatchObject({ result: 'EEXIST', fields: good });
    const all = { ioas_id: ioasId, iova: 0n, length: u64Max };
    expect(call(iommuIoasUnmap, all)).toMatchObject({ result: 0, fields: { length: PAGE } });
    expect(call(iommuIoasUnmap, all)).toMatchObject({ result: 0, fields: { length: 0n } });
    const some = { ioas_id: ioasId, iova: PAGE, length: PAGE };
    expect(call(iommuIoasUnmap, some)).toMatchObject({ result: 'ENOENT', fields: some });
  });

  test('D3b a map stays when its iova cannot be written', () => {
    const { call, good, ioctl, userMemory } = setUp();
    const bytes = iommuIoasMapFile.encode({ size: 40, start: 0n, ...good });
    const address = userMemory.place(bytes, false);
    expect(ioctl(IOMMU_IOAS_MAP_FILE, address)).toBe('EFAULT');
    expect(ioctl(IOMMU_IOAS_MAP_FILE, address)).toBe('EEXIST');
    expect(call(iommuIoasMapFile, good).result).toBe('EEXIST');
  });

  test('a descriptor that is not open, in its turn', () => {
    const { call, good } = setUp();
    for (const fd of [-1, 99, 0x7fff_ffff]) {
      expect(call(iommuIoasMapFile, { ...good, fd }).result).toBe('EBADF');
    }
    expect(call(iommuIoasMapFile, { ...good, fd: -1, length: 0n }).result).toBe('EINVAL');
    expect(call(iommuIoasMapFile, { ...good, fd: -1, start: u64Max }).result).toBe('EOVERFLOW');
    // Placement comes after it.
    expect(call(iommuIoasMapFile, { ...good, fd: -1, iova: u64Max - 1n }).result).toBe('EBADF');
  });

  test('an open file that is no memory is taken, until a device is to see it', () => {
    const world = setUp();
    const { call, files, file, good, iommufd, ioasId } = world;
    const fds = [
      files.add({ kind: 'fault queue', queue: iommufd.faultQueueAlloc().queue }),
      files.add({ kind: 'iommufd', file }),
    ];
    for (const [index, fd] of fds.entries()) {
      const request = { ...good, fd, iova: good.iova + BigInt(index) * PAGE };
      expect(call(iommuIoasMapFile, request).result).toBe(0);
      expect(call(iommuIoasMapFile, request).result).toBe('EEXIST');
    }
    const copy = { flags: good.flags, length: PAGE, src_iova: good.iova, dst_iova: 0x20000n };
    const ids = { dst_ioas_id: ioasId, src_ioas_id: ioasId };
    expect(call(iommuIoasCopy, { ...copy, ...ids }).result).toBe(0);
    iommufd.changeProcess();
    const device = iommufd.bind(world.createUnit());
    const attach = () => errnoOf(() => device.attach(ioasId));
    expect(attach()).toBe('EINVAL');
    const all = { ioas_id: ioasId, iova: 0n, length: u64Max };
    expect(call(iommuIoasUnmap, all).fields.length).toBe(3n * PAGE);
    expect(attach()).toBeTypeOf('number');
    for (const fd of fds) expect(call(iommuIoasMapFile, { ...good, fd }).result).toBe('EINVAL');
    expect(call(iommuIoasUnmap, all).fields.length).toBe(0n);
  });
});
