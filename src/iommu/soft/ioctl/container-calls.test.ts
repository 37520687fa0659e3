// The legacy container by bytes: structures of several lengths, and the chain of capabilities.
import { describe, expect, test } from 'vitest';
import type { Struct } from '../../../uapi/struct.js';
import {
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
  vfioIommuType1InfoDmaAvail,
  vfioIovaRange,
} from '../../../uapi/vfio.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

const PAGE = 4096n;
const wholeBytes = 24 + 16 + 16 + 2 * 16;

function setUp() {
  const caller = createSoftCaller();
  const { iommufd, ioctl } = caller;
  const ioasId = iommufd.ioasAlloc();
  function send<T extends object>(request: number, struct: Struct<T>, fields: Partial<T>) {
    const bytes = new Uint8Array(struct.sizeBytes);
    struct.encodeAt({ ...struct.decode(bytes), argsz: struct.sizeBytes, ...fields }, bytes, 0);
    return { result: ioctl(request, bytes), fields: struct.decode(bytes), bytes };
  }
  return {
    ...caller,
    ioasId,
    choose: () => iommufd.vfioIoas({ op: 1, ioasId }),
    map: (iova: bigint, size: bigint, change: object = {}) =>
      send(VFIO_IOMMU_MAP_DMA, vfioIommuType1DmaMap, { flags: 3, iova, size, ...change }),
    unmap: (iova: bigint, size: bigint, change: object = {}) =>
      send(VFIO_IOMMU_UNMAP_DMA, vfioIommuType1DmaUnmap, { iova, size, ...change }),
  };
}

test('calls by value take no memory; bytes are none of the numbers they know', () => {
  const { ioctl, choose } = setUp();
  expect(ioctl(VFIO_GET_API_VERSION, 0n)).toBe(0);
  expect(ioctl(VFIO_CHECK_EXTENSION, 3n)).toBe(1);
  expect(ioctl(VFIO_CHECK_EXTENSION, 4n)).toBe('ENODEV');
  expect(ioctl(VFIO_CHECK_EXTENSION, 2n ** 64n - 1n)).toBe(0);
  expect(ioctl(VFIO_CHECK_EXTENSION, Uint8Array.of(3, 0, 0, 0))).toBe(0);
  expect(ioctl(VFIO_SET_IOMMU, 3n)).toBe('ENODEV');
  choose();
  expect(ioctl(VFIO_SET_IOMMU, 3n)).toBe(0);
  expect(ioctl(VFIO_SET_IOMMU, 2n)).toBe('EINVAL');
  expect(ioctl(VFIO_SET_IOMMU, Uint8Array.of(3, 0, 0, 0))).toBe('EINVAL');
  expect(ioctl(VFIO_CHECK_EXTENSION, 4n)).toBe(1);
  expect(ioctl(VFIO_IOMMU_DIRTY_PAGES, 0n)).toBe('ENOTTY');
});

describe('MAP_DMA and UNMAP_DMA', () => {
  test('memory, then length and flags, then the container', () => {
    const { ioctl, map, unmap } = setUp();
    expect(ioctl(VFIO_IOMMU_MAP_DMA, new Uint8Array(31))).toBe('EFAULT');
    expect(ioctl(VFIO_IOMMU_UNMAP_DMA, new Uint8Array(23))).toBe('EFAULT');
    expect(map(0n, PAGE, { argsz: 31 }).result).toBe('EINVAL');
    expect(map(0n, PAGE, { flags: 4 }).result).toBe('EINVAL');
    expect(unmap(0n, PAGE, { argsz: 23 }).result).toBe('EINVAL');
    expect(unmap(0n, PAGE, { flags: 1 }).result).toBe('EINVAL');
    expect(map(0n, PAGE).result).toBe('ENODEV');
    expect(unmap(0n, PAGE).result).toBe('ENODEV');
  });

  test('what was removed is written back, also when an area sticks out', () => {
    const { map, unmap, choose } = setUp();
    choose();
    map(0x1000n, PAGE);
    map(0x2000n, 2n * PAGE);
    expect(map(0x2000n, PAGE)).toMatchObject({ result: 'EEXIST', fields: { size: PAGE } });
    const cut = unmap(0x1000n, 2n * PAGE);
    expect(cut).toMatchObject({ result: 'ENOENT', fields: { size: PAGE } });
    expect(unmap(0x2000n, 2n * PAGE)).toMatchObject({ result: 0, fields: { size: 2n * PAGE } });
    expect(unmap(0x2000n, 2n * PAGE)).toMatchObject({ result: 0, fields: { size: 0n } });
    const both = unmap(0n, PAGE, { flags: 2 });
    expect(both).toMatchObject({ result: 'EINVAL', fields: { size: PAGE } });
  });
});

describe('GET_INFO', () => {
  /** A room of `room` bytes, of which the caller says that it has `argsz`. */
  function getInfo(argsz: number, room = 128) {
    const all = setUp();
    const { ioctl, choose, iommufd, createUnit, ioasId } = all;
    const reserved = [{ start: 0x10_0000n, last: 0x1f_ffffn }];
    iommufd.bind(createUnit({ reserved })).attach(ioasId);
    choose();
    const bytes = new Uint8Array(room).fill(0xee);
    new DataView(bytes.buffer).setUint32(0, argsz, true);
    return { result: ioctl(VFIO_IOMMU_GET_INFO, bytes), bytes };
  }

  test('everything that fits, in one chain', () => {
    const { result, bytes } = getInfo(wholeBytes);
    expect(result).toBe(0);
    const info = vfioIommuType1Info.decodeAt(bytes, 0);
    expect(info).toMatchObject({ argsz: wholeBytes, flags: 3, cap_offset: 24, pad: 0 });
    expect(vfioIommuType1InfoDmaAvail.decodeAt(bytes, 24)).toEqual({
      header: { id: 3, version: 1, next: 40 },
      avail: 0xffff_ffff,
    });
    expect([...bytes.subarray(40, 56)]).toEqual([1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expect(vfioIovaRange.decodeAt(bytes, 56)).toEqual({ start: 0n, end: 0xf_ffffn });
    expect(vfioIovaRange.decodeAt(bytes, 72).start).toBe(0x20_0000n);
    expect(bytes.subarray(88).every((byte) => byte === 0xee)).toBe(true);
  });

  test('how much is needed, and nothing behind what the caller has', () => {
    for (const argsz of [16, 20, 24, 35, 36, 40, 71, 72, wholeBytes - 1]) {
      const { result, bytes } = getInfo(argsz);
      expect(result).toBe(0);
      expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(wholeBytes);
      if (argsz >= 24) expect(vfioIommuType1Info.decodeAt(bytes, 0).cap_offset).toBe(0);
      expect(bytes.subarray(argsz).every((byte) => byte === 0xee)).toBe(true);
      // The count of ranges comes with all of them, a single range as soon as it fits.
      expect(bytes[40]).toBe(0xee);
      expect(bytes[56]).toBe(argsz >= 72 ? 0 : 0xee);
      expect(bytes[24]).toBe(argsz >= 36 ? 3 : 0xee);
    }
  });

  test('memory, then the length, then the container', () => {
    expect(getInfo(16, 15).result).toBe('EFAULT');
    expect(getInfo(15).result).toBe('EINVAL');
    expect(getInfo(wholeBytes, wholeBytes - 1).result).toBe('EFAULT');
    expect(setUp().ioctl(VFIO_IOMMU_GET_INFO, new Uint8Array(16).fill(16, 0, 1))).toBe('ENODEV');
  });
});
