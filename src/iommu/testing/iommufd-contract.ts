// What every iommufd does, by typed calls: run over the one in software and over the kernel's.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fd } from '../../os/fd.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_OPTION_HUGE_PAGES,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
} from '../../uapi/iommufd.js';
import type { IommuDevice, Iommufd } from '../iommufd.js';
import { type MapFileRequest, u64Max } from '../requests.js';
import { errnoOf } from './errno-of.js';

export interface ContractWorld {
  readonly iommufd: Iommufd;
  /** A shared memory object. */
  createMemory(lengthBytes: number): Fd;
  /** The device, which has no PASIDs, bound. Once in a world. */
  bindDevice(): IommuDevice;
  /** Closes everything that is left. */
  end(): void;
}

const fixed = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
const placed = IOMMU_IOAS_MAP_READABLE;
const page = 4096n;

export function iommufdContract(name: string, createWorld: () => ContractWorld): void {
  describe(name, () => {
    let world: ContractWorld;
    let iommufd: ContractWorld['iommufd'];
    let fd: Fd;

    beforeEach(() => {
      world = createWorld();
      ({ iommufd } = world);
      fd = world.createMemory(64 * 1024);
    });

    afterEach(() => world.end());

    function request(ioasId: number, change: Partial<MapFileRequest> = {}): MapFileRequest {
      return { flags: fixed, ioasId, fd, start: 0n, length: page, iova: 0x1_0000n, ...change };
    }

    const map = (ioasId: number, change: Partial<MapFileRequest> = {}) =>
      iommufd.ioasMapFile(request(ioasId, change));

    it('gives the lowest free ids, and each object up once', () => {
      const ids = [iommufd.ioasAlloc(), iommufd.ioasAlloc(), iommufd.ioasAlloc()];
      expect(ids).toEqual([1, 2, 3]);
      iommufd.destroy(2);
      expect(errnoOf(() => iommufd.destroy(2))).toBe('ENOENT');
      expect(iommufd.ioasAlloc()).toBe(2);
      expect(errnoOf(() => iommufd.ioasAlloc(1))).toBe('EOPNOTSUPP');
      expect(errnoOf(() => iommufd.destroy(0))).toBe('ENOENT');
    });

    it('has every address free at first, and says so also without room', () => {
      const ioas = iommufd.ioasAlloc();
      const whole = { rangeCount: 1, alignment: 1n };
      expect(iommufd.ioasIovaRanges(ioas, 4)).toEqual({
        ...whole,
        ranges: [{ start: 0n, last: u64Max }],
        errno: undefined,
      });
      const none = { ...whole, ranges: [], errno: 'EMSGSIZE' };
      expect(iommufd.ioasIovaRanges(ioas, 0)).toEqual(none);
      expect(errnoOf(() => iommufd.ioasIovaRanges(9, 1))).toBe('ENOENT');
    });

    it('refuses maps in the order of the checks', () => {
      const ioas = iommufd.ioasAlloc();
      expect(map(ioas)).toBe(0x1_0000n);
      const errno = (change: Partial<MapFileRequest>) => errnoOf(() => map(ioas, change));
      expect(errno({ flags: 8, iova: u64Max, ioasId: 9 })).toBe('EOPNOTSUPP');
      expect(errno({ flags: 0, iova: u64Max, ioasId: 9 })).toBe('EOVERFLOW');
      expect(errno({ flags: 0, ioasId: 9 })).toBe('EINVAL');
      expect(errno({ ioasId: 9, length: 0n })).toBe('ENOENT');
      expect(errno({ length: 0n })).toBe('EINVAL');
      expect(errno({ start: u64Max, length: 2n })).toBe('EOVERFLOW');
      expect(errno({ iova: 0x1_0fffn })).toBe('EEXIST');
    });

    it('unmaps whole areas, and none that sticks out', () => {
      const ioasId = iommufd.ioasAlloc();
      map(ioasId);
      map(ioasId, { iova: 0x2_0000n, start: page, length: 2n * page });
      const unmap = (iova: bigint, length: bigint) => iommufd.ioasUnmap({ ioasId, iova, length });
      expect(errnoOf(() => unmap(0x2_0000n, page))).toBe('ENOENT');
      expect(errnoOf(() => unmap(0x3_0000n, page))).toBe('ENOENT');
      expect(errnoOf(() => unmap(0x1_0000n, 0n))).toBe('EINVAL');
      expect(unmap(0n, 0x1_8000n)).toBe(page);
      expect(unmap(0n, u64Max)).toBe(2n * page);
      expect(unmap(0n, u64Max)).toBe(0n);
    });

    it('places maps in the lowest hole of what is allowed', () => {
      const ioasId = iommufd.ioasAlloc();
      iommufd.ioasAllowIovas(ioasId, [{ start: 0x4_0000n, last: 0x4_1fffn }]);
      const place = () => map(ioasId, { flags: placed });
      expect([place(), place()]).toEqual([0x4_0000n, 0x4_1000n]);
      expect(errnoOf(place)).toBe('ENOSPC');
      expect(map(ioasId)).toBe(0x1_0000n);
      const touching = [
        { start: 0n, last: 9n },
        { start: 9n, last: 20n },
      ];
      expect(errnoOf(() => iommufd.ioasAllowIovas(ioasId, touching))).toBe('EINVAL');
    });

    it('copies areas and parts of them', () => {
      const source = iommufd.ioasAlloc();
      const target = iommufd.ioasAlloc();
      map(source, { length: 4n * page });
      const copy = { flags: fixed, dstIoasId: target, srcIoasId: source, length: page };
      const part = { ...copy, srcIova: 0x1_1000n, dstIova: 0x9_0000n };
      expect(iommufd.ioasCopy(part)).toBe(0x9_0000n);
      expect(errnoOf(() => iommufd.ioasCopy(part))).toBe('EEXIST');
      expect(errnoOf(() => iommufd.ioasCopy({ ...part, srcIova: 0x1_4000n }))).toBe('ENOENT');
      iommufd.destroy(source);
      expect(iommufd.ioasUnmap({ ioasId: target, iova: 0n, length: u64Max })).toBe(page);
    });

    it('answers options', () => {
      const objectId = iommufd.ioasAlloc();
      const huge = { optionId: IOMMU_OPTION_HUGE_PAGES, objectId };
      const get = () => iommufd.option({ ...huge, op: IOMMU_OPTION_OP_GET, value: 0n });
      expect(get()).toBe(1n);
      expect(iommufd.option({ ...huge, op: IOMMU_OPTION_OP_SET, value: 0n })).toBe(0n);
      expect([get(), iommufd.ioasIovaRanges(objectId, 1).alignment]).toEqual([0n, page]);
      expect(errnoOf(() => iommufd.option({ ...huge, op: 2, value: 0n }))).toBe('EOPNOTSUPP');
      const other = { optionId: 9, objectId: 0, op: IOMMU_OPTION_OP_GET, value: 0n };
      expect(errnoOf(() => iommufd.option(other))).toBe('EOPNOTSUPP');
    });

    it('answers as a container over an IOAS', () => {
      expect(iommufd.apiVersion()).toBe(0);
      const get = { op: IOMMU_VFIO_IOAS_GET, ioasId: 0 };
      expect(errnoOf(() => iommufd.vfioIoas(get))).toBe('ENODEV');
      const ioasId = iommufd.ioasAlloc();
      iommufd.vfioIoas({ op: IOMMU_VFIO_IOAS_SET, ioasId });
      expect(iommufd.vfioIoas(get)).toBe(ioasId);
      expect([iommufd.checkExtension(3), iommufd.checkExtension(7)]).toEqual([1, 0]);
      map(ioasId, { length: 2n * page });
      const unmap = { flags: 0, iova: 0x1_0000n, size: page };
      expect(iommufd.unmapDma(unmap)).toEqual({ size: 0n, errno: 'ENOENT' });
      expect(iommufd.unmapDma({ ...unmap, size: 2n * page }).size).toBe(2n * page);
      expect(iommufd.containerInfo()).toMatchObject({ iovaRanges: [{ start: 0n, last: u64Max }] });
      iommufd.vfioIoas({ op: IOMMU_VFIO_IOAS_CLEAR, ioasId: 0 });
      expect(errnoOf(() => iommufd.containerInfo())).toBe('ENODEV');
    });

    it('makes fault queues, which are busy while their file is open', () => {
      const { faultId, queue } = iommufd.faultQueueAlloc();
      expect([queue.isReadable(), queue.read(40).length]).toEqual([false, 0]);
      expect(errnoOf(() => queue.read(41))).toBe('ESPIPE');
      expect(errnoOf(() => queue.write(new Uint8Array(7)))).toBe('ESPIPE');
      expect(errnoOf(() => queue.write(new Uint8Array(8)))).toBe('EINVAL');
      expect(errnoOf(() => iommufd.destroy(faultId))).toBe('EBUSY');
      queue.close();
      iommufd.destroy(faultId);
      expect(errnoOf(() => iommufd.faultQueueAlloc(1))).toBe('EOPNOTSUPP');
    });

    it('cuts an address space to what its device reaches while it is attached', () => {
      const device = world.bindDevice();
      const ioasId = iommufd.ioasAlloc();
      const hwptId = device.attach(ioasId);
      const { ranges, alignment } = iommufd.ioasIovaRanges(ioasId, 64);
      expect([ranges[0]?.start, ranges.at(-1)?.last]).toEqual([
        device.aperture.start,
        device.aperture.last,
      ]);
      expect(alignment).toBe(BigInt(device.pageBytes));
      expect(errnoOf(() => map(ioasId, { iova: device.aperture.last + 1n }))).toBe('EINVAL');
      expect(errnoOf(() => map(ioasId, { iova: 1n }))).toBe('EINVAL');
      expect(map(ioasId)).toBe(0x1_0000n);
      expect(errnoOf(() => iommufd.destroy(ioasId))).toBe('EBUSY');
      expect(errnoOf(() => iommufd.destroy(device.id))).toBe('EBUSY');
      device.detach();
      device.detach();
      expect(errnoOf(() => iommufd.destroy(hwptId))).toBe('ENOENT');
      iommufd.destroy(ioasId);
    });

    it('replaces what a device is attached to, or keeps it', () => {
      const device = world.bindDevice();
      const [one, other] = [iommufd.ioasAlloc(), iommufd.ioasAlloc()];
      const hwptId = iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId: one });
      expect(device.attach(hwptId)).toBe(hwptId);
      expect(errnoOf(() => iommufd.destroy(hwptId))).toBe('EBUSY');
      // Longer than the memory: only a page table looks.
      map(other, { length: 1n << 20n });
      expect(errnoOf(() => device.attach(other))).toBe('EINVAL');
      expect(errnoOf(() => device.attach(99))).toBe('ENOENT');
      expect(errnoOf(() => device.attach(device.id))).toBe('EINVAL');
      iommufd.ioasUnmap({ ioasId: other, iova: 0n, length: u64Max });
      device.attach(other);
      iommufd.destroy(hwptId);
      iommufd.destroy(one);
      device.detach();
      iommufd.destroy(other);
    });

    it('refuses PASIDs of a device that has none', () => {
      const device = world.bindDevice();
      expect(device.pasidBits).toBe(0);
      const ptId = iommufd.ioasAlloc();
      const hwptId = iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId });
      expect(['EOPNOTSUPP', 'EINVAL']).toContain(errnoOf(() => device.attach(hwptId, 1)));
      device.detach(1);
      const info = { flags: 0, devId: device.id, dataType: 0, dataLenMax: 64 };
      expect(iommufd.hwInfo(info).maxPasidLog2).toBe(0);
      expect(errnoOf(() => iommufd.hwInfo({ ...info, flags: 2 }))).toBe('EOPNOTSUPP');
      expect(errnoOf(() => iommufd.hwInfo({ ...info, devId: 99 }))).toBe('ENOENT');
    });

    it('says in the result why it invalidates nothing', () => {
      const device = world.bindDevice();
      const ptId = iommufd.ioasAlloc();
      const hwptId = iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId });
      const request = { hwptId, dataType: 0, entryLen: 8, entryNum: 1, data: new Uint8Array(8) };
      const refused = (errno: string) => ({ handledCount: 0, errno });
      const ask = (change: Partial<typeof request>) =>
        iommufd.hwptInvalidate({ ...request, ...change });
      expect(iommufd.hwptInvalidate({ ...request, data: undefined })).toEqual(refused('EINVAL'));
      expect(ask({ entryLen: 0, hwptId: 99 })).toEqual(refused('EINVAL'));
      expect(ask({ hwptId: 99 })).toEqual(refused('ENOENT'));
      expect(ask({ hwptId: device.id })).toEqual(refused('EINVAL'));
      expect(ask({})).toEqual(refused('EINVAL'));
      expect(ask({ entryNum: 0 })).toEqual(refused('EINVAL'));
    });
  });
}
