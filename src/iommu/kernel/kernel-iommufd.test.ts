import { beforeEach, describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import * as uapi from '../../uapi/iommufd.js';
import type { Struct } from '../../uapi/struct.js';
import * as vfio from '../../uapi/vfio.js';
import { thrown } from '../testing/errno-of.js';
import { FakeIoctl } from '../testing/fake-ioctl.js';
import { KernelIommufd } from './kernel-iommufd.js';

let os: FakeIoctl;
let iommufd: KernelIommufd;

beforeEach(() => {
  os = new FakeIoctl();
  iommufd = KernelIommufd.open(os);
});

/** Answers with the fields given, the others as they were sent. */
function answers<T extends object>(request: number, codec: Struct<T>, fields: Partial<T>): void {
  os.on(request, (bytes) => codec.encodeAt({ ...codec.decode(bytes), ...fields }, bytes, 0));
}

/** As the call sent it. */
function sent<T>(request: number, codec: Struct<T>): T {
  return codec.decode(os.last(request).bytes);
}

describe('KernelIommufd', () => {
  it('opens the node for reading and writing, and closes it', () => {
    expect(os.opened).toEqual([{ path: '/dev/iommu', flags: 2 }]);
    expect(os.files.openCount).toBe(1);
    iommufd[Symbol.dispose]();
    expect(os.files.openCount).toBe(0);
  });

  it('says its size in every struct, and names the call in errors', () => {
    answers(uapi.IOMMU_IOAS_ALLOC, uapi.iommuIoasAlloc, { out_ioas_id: 7 });
    expect(iommufd.ioasAlloc()).toBe(7);
    expect(sent(uapi.IOMMU_IOAS_ALLOC, uapi.iommuIoasAlloc)).toEqual({
      size: 12,
      flags: 0,
      out_ioas_id: 0,
    });
    os.fail(uapi.IOMMU_DESTROY, 'EBUSY');
    expect(thrown(() => iommufd.destroy(7))).toMatchObject({
      errno: 'EBUSY',
      syscall: 'IOMMU_DESTROY',
    });
  });

  it('passes all 64 bits of a map, and gives back where it is', () => {
    answers(uapi.IOMMU_IOAS_MAP_FILE, uapi.iommuIoasMapFile, { iova: 0xffff_ffff_0000_0000n });
    using fd = os.files.create('memory', 1);
    const start = 0x8000_0000_0000_0000n;
    const request = { flags: 6, ioasId: 3, fd, start, length: 5n, iova: 1n };
    expect(iommufd.ioasMapFile(request)).toBe(0xffff_ffff_0000_0000n);
    expect(sent(uapi.IOMMU_IOAS_MAP_FILE, uapi.iommuIoasMapFile)).toEqual({
      size: 40,
      flags: 6,
      ioas_id: 3,
      fd: fd.number,
      start,
      length: 5n,
      iova: 1n,
    });
  });
});

describe('ioasIovaRanges', () => {
  const codec = uapi.iommuIoasIovaRanges;

  /** A kernel with so many ranges. */
  function withRanges(count: number): void {
    os.on(uapi.IOMMU_IOAS_IOVA_RANGES, (bytes) => {
      const call = codec.decode(bytes);
      const fitting = Math.min(count, call.num_iovas);
      for (let index = 0; index < fitting; index++) {
        const range = { start: BigInt(index) * 16n, last: BigInt(index) * 16n + 7n };
        uapi.iommuIovaRange.encodeAt(range, os.at(call.allowed_iovas), index * 16);
      }
      codec.encodeAt({ ...call, num_iovas: count, out_iova_alignment: 4096n }, bytes, 0);
      if (count > call.num_iovas) throw new OsError('EMSGSIZE', 'ioctl');
    });
  }

  it('gives what fits together with EMSGSIZE', () => {
    withRanges(3);
    const start = 16n;
    expect(iommufd.ioasIovaRanges(1, 2)).toEqual({
      ranges: [
        { start: 0n, last: 7n },
        { start, last: 23n },
      ],
      rangeCount: 3,
      alignment: 4096n,
      errno: 'EMSGSIZE',
    });
    expect(iommufd.ioasIovaRanges(1, 3).errno).toBeUndefined();
  });

  it('points nowhere when there is room for none', () => {
    withRanges(1);
    expect(iommufd.ioasIovaRanges(1, 0)).toMatchObject({ ranges: [], rangeCount: 1 });
    expect(sent(uapi.IOMMU_IOAS_IOVA_RANGES, codec).allowed_iovas).toBe(0n);
  });

  it('makes no more room than there are ranges, however many are asked for', () => {
    withRanges(100);
    expect(iommufd.ioasIovaRanges(1, 0xffff_ffff)).toMatchObject({ rangeCount: 100 });
    expect(iommufd.ioasIovaRanges(1, 0xffff_ffff).ranges).toHaveLength(100);
    expect(sent(uapi.IOMMU_IOAS_IOVA_RANGES, codec).num_iovas).toBe(100);
  });

  it('throws what is no EMSGSIZE', () => {
    os.fail(uapi.IOMMU_IOAS_IOVA_RANGES, 'ENOENT');
    expect(thrown(() => iommufd.ioasIovaRanges(9, 1))).toMatchObject({ errno: 'ENOENT' });
  });
});

describe('calls with bytes of their own', () => {
  it('hand over a list of ranges', () => {
    os.on(uapi.IOMMU_IOAS_ALLOW_IOVAS, (bytes) => {
      const call = uapi.iommuIoasAllowIovas.decode(bytes);
      expect(call.num_iovas).toBe(2);
      const list = os.at(call.allowed_iovas);
      expect(uapi.iommuIovaRange.decodeAt(list, 16)).toEqual({ start: 8n, last: 9n });
    });
    const ranges = [
      { start: 1n, last: 2n },
      { start: 8n, last: 9n },
    ];
    iommufd.ioasAllowIovas(1, ranges);
    expect(os.calls).toHaveLength(1);
  });

  it('report how many invalidations were handled also with an error', () => {
    os.on(uapi.IOMMU_HWPT_INVALIDATE, (bytes) => {
      const call = uapi.iommuHwptInvalidate.decode(bytes);
      uapi.iommuHwptInvalidate.encodeAt({ ...call, entry_num: 1 }, bytes, 0);
      throw new OsError('EINVAL', 'ioctl');
    });
    const request = { hwptId: 1, dataType: 0, entryLen: 8, entryNum: 2, data: new Uint8Array(16) };
    expect(iommufd.hwptInvalidate(request)).toEqual({ handledCount: 1, errno: 'EINVAL' });
    os.on(uapi.IOMMU_HWPT_INVALIDATE, () => {
      throw new OsError('ENOTTY', 'ioctl');
    });
    expect(iommufd.hwptInvalidate(request)).toEqual({ handledCount: 0, errno: 'ENOTTY' });
  });

  it('never let the kernel read or write behind the bytes given', () => {
    const data = new Uint8Array(15);
    const entries = { hwptId: 1, dataType: 0, entryLen: 8, entryNum: 2, data };
    expect(iommufd.hwptInvalidate(entries)).toEqual({ handledCount: 0, errno: 'EFAULT' });
    const bits = { flags: 0, hwptId: 1, iova: 0n, length: 9n * 4096n, pageSize: 4096n };
    const bitmap = new Uint8Array(1);
    expect(thrown(() => iommufd.getDirtyBitmap({ ...bits, bitmap }))).toMatchObject({
      errno: 'EFAULT',
    });
    const endless = { ...bits, length: 2n ** 64n - 1n, pageSize: 1n, bitmap };
    expect(thrown(() => iommufd.getDirtyBitmap(endless))).toMatchObject({ errno: 'ENOMEM' });
    expect(os.calls).toEqual([]);
  });

  it('add dirty bits to those that are set, in bytes and one run at a time', () => {
    os.on(uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, (bytes) => {
      const { data } = uapi.iommuHwptGetDirtyBitmap.decode(bytes);
      expect(os.at(data)).toHaveLength(8);
      os.at(data).set([0b0110, 0, 0x80, 0x01]);
    });
    const request = { flags: 0, hwptId: 1, iova: 0n, length: 32n * 4096n, pageSize: 4096n };
    const bitmap = Uint8Array.of(1, 2, 0, 0);
    iommufd.getDirtyBitmap({ ...request, bitmap });
    expect([...bitmap]).toEqual([0b0111, 2, 0x80, 0x01]);
    const runs: [bigint, bigint][] = [];
    const bits = { set: (first: bigint, count: bigint) => void runs.push([first, count]) };
    iommufd.getDirtyBitmap({ ...request, bitmap: bits });
    expect(runs).toEqual([
      [1n, 2n],
      [23n, 2n],
    ]);
  });

  it('read a fault queue by its file, which closes on its own', () => {
    const number = os.files.install(os.files.file(os.files.create('other', 1).number)!);
    const fields = { out_fault_id: 5, out_fault_fd: number };
    answers(uapi.IOMMU_FAULT_QUEUE_ALLOC, uapi.iommuFaultAlloc, fields);
    const { faultId, queue } = iommufd.faultQueueAlloc();
    expect([faultId, queue.isReadable(), queue.read(40).length]).toEqual([5, false, 0]);
    os.receive(number, new Uint8Array(40).fill(1));
    expect([queue.isReadable(), queue.read(80).length]).toEqual([true, 40]);
    queue.close();
    expect(os.files.file(number)).toBeUndefined();
  });
});

describe('the container', () => {
  it('tells an unmap that removed something from one that reported nothing', () => {
    const codec = vfio.vfioIommuType1DmaUnmap;
    const request = { flags: 0, iova: 0x1000n, size: 0x2000n };
    os.fail(vfio.VFIO_IOMMU_UNMAP_DMA, 'ENODEV');
    expect(thrown(() => iommufd.unmapDma(request))).toMatchObject({ errno: 'ENODEV' });
    os.on(vfio.VFIO_IOMMU_UNMAP_DMA, (bytes) => {
      codec.encodeAt({ ...codec.decode(bytes), size: 0x1000n }, bytes, 0);
      throw new OsError('ENOENT', 'ioctl');
    });
    expect(iommufd.unmapDma(request)).toEqual({ size: 0x1000n, errno: 'ENOENT' });
  });

  it('asks with room for the capabilities', () => {
    const header = { version: 1 };
    os.on(vfio.VFIO_IOMMU_GET_INFO, (bytes) => {
      const info = { argsz: 72, flags: 3, iova_pgsizes: 0x1000n, cap_offset: 0, pad: 0 };
      const hasRoom = bytes.length >= 72;
      vfio.vfioIommuType1Info.encodeAt({ ...info, cap_offset: hasRoom ? 24 : 0 }, bytes, 0);
      if (!hasRoom) return;
      const avail = { header: { ...header, id: 3, next: 40 }, avail: 9 };
      vfio.vfioIommuType1InfoDmaAvail.encodeAt(avail, bytes, 24);
      const ranges = { header: { ...header, id: 1, next: 0 }, nr_iovas: 1, reserved: 0 };
      vfio.vfioIommuType1InfoCapIovaRange.encodeAt(ranges, bytes, 40);
      vfio.vfioIovaRange.encodeAt({ start: 1n, end: 2n }, bytes, 56);
    });
    expect(iommufd.containerInfo()).toEqual({
      pageSizes: 0x1000n,
      iovaRanges: [{ start: 1n, last: 2n }],
      mapsAvailable: 9,
    });
  });

  it('passes numbers by value', () => {
    os.on(vfio.VFIO_CHECK_EXTENSION, (_, { value }) => (value === 3 ? 1 : 0));
    expect([iommufd.checkExtension(3), iommufd.checkExtension(4)]).toEqual([1, 0]);
  });
});

describe('bindDevice', () => {
  const attach = vfio.vfioDeviceAttachIommufdPt;

  /** A kernel whose device has PASIDs of that width. */
  function withDevice(pasidBits: number) {
    answers(vfio.VFIO_DEVICE_BIND_IOMMUFD, vfio.vfioDeviceBindIommufd, { out_devid: 4 });
    answers(uapi.IOMMU_GET_HW_INFO, uapi.iommuHwInfo, { out_max_pasid_log2: pasidBits });
    answers(uapi.IOMMU_IOAS_ALLOC, uapi.iommuIoasAlloc, { out_ioas_id: 5 });
    answers(uapi.IOMMU_HWPT_ALLOC, uapi.iommuHwptAlloc, { out_hwpt_id: 6 });
    answers(uapi.IOMMU_DESTROY, uapi.iommuDestroy, {});
    os.on(uapi.IOMMU_IOAS_IOVA_RANGES, (bytes) => {
      const codec = uapi.iommuIoasIovaRanges;
      const call = codec.decode(bytes);
      const list = os.at(call.allowed_iovas);
      uapi.iommuIovaRange.encodeAt({ start: 0x100n, last: 0x1ffn }, list, 0);
      uapi.iommuIovaRange.encodeAt({ start: 0x300n, last: 0xfffn }, list, 16);
      codec.encodeAt({ ...call, num_iovas: 2, out_iova_alignment: 2048n }, bytes, 0);
    });
    answers(vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach, { pt_id: 6 });
    const detach = vfio.vfioDeviceDetachIommufdPt;
    answers(vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, detach, {});
    return { fd: os.files.create('other', 2), detach };
  }

  it('reads what the device reaches off a page table that it gives up again', () => {
    const { fd } = withDevice(0);
    const device = iommufd.bindDevice(fd);
    expect(device).toMatchObject({
      id: 4,
      pasidBits: 0,
      pageBytes: 2048,
      aperture: { start: 0x100n, last: 0xfffn },
    });
    const destroyed = os.calls.filter(({ request }) => request === uapi.IOMMU_DESTROY);
    expect(destroyed.map(({ bytes }) => uapi.iommuDestroy.decode(bytes).id)).toEqual([6, 5]);
    expect(sent(uapi.IOMMU_HWPT_ALLOC, uapi.iommuHwptAlloc)).toMatchObject({ flags: 0, dev_id: 4 });
    expect(fd.isOpen).toBe(true);
    device.close();
    expect(fd.isOpen).toBe(false);
  });

  it('attaches with the older structs where there is no PASID', () => {
    const { fd, detach } = withDevice(8);
    const device = iommufd.bindDevice(fd);
    expect(sent(uapi.IOMMU_HWPT_ALLOC, uapi.iommuHwptAlloc).flags).toBe(
      uapi.IOMMU_HWPT_ALLOC_PASID,
    );
    expect(device.attach(5)).toBe(6);
    const request = vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT;
    expect(sent(request, attach)).toMatchObject({ argsz: 12, flags: 0, pt_id: 5 });
    device.attach(5, 255);
    expect(sent(request, attach)).toMatchObject({ argsz: 16, flags: 1, pasid: 255 });
    device.close();
    const ended = os.calls.filter((call) => call.request === vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT);
    expect(ended.map(({ bytes }) => detach.decode(bytes))).toEqual([
      { argsz: 8, flags: 0, pasid: 0 },
      { argsz: 12, flags: 1, pasid: 255 },
    ]);
  });

  it('refuses PASIDs that the device has not, and PASID 0', () => {
    const { fd } = withDevice(8);
    const device = iommufd.bindDevice(fd);
    for (const pasid of [0, 256, -1, 1.5]) {
      expect(thrown(() => device.attach(5, pasid))).toMatchObject({ errno: 'EINVAL' });
    }
    answers(uapi.IOMMU_GET_HW_INFO, uapi.iommuHwInfo, { out_max_pasid_log2: 0 });
    const plain = iommufd.bindDevice(fd.duplicate());
    expect(thrown(() => plain.attach(5, 1))).toMatchObject({ errno: 'EOPNOTSUPP' });
    plain.detach(1);
    device.detach(0);
    const requests = os.calls.map(({ request }) => request);
    expect(requests).not.toContain(vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT);
    expect(requests).not.toContain(vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT);
  });

  it('keeps no descriptor and no object when anything fails', () => {
    for (const request of [
      vfio.VFIO_DEVICE_BIND_IOMMUFD,
      uapi.IOMMU_GET_HW_INFO,
      uapi.IOMMU_IOAS_ALLOC,
      uapi.IOMMU_HWPT_ALLOC,
      uapi.IOMMU_IOAS_IOVA_RANGES,
    ]) {
      const { fd } = withDevice(0);
      os.fail(request, 'ENOMEM');
      expect(thrown(() => iommufd.bindDevice(fd))).toMatchObject({ errno: 'ENOMEM' });
      expect(os.files.openCount).toBe(1);
    }
  });
});
