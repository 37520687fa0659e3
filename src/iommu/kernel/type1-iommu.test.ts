import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { GiB, type Iova, MiB } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import * as uapi from '../../uapi/vfio.js';
import { type AddressSpaces, openAddressSpaces } from '../address-space.js';
import { u64Max } from '../requests.js';
import { thrown } from '../testing/errno-of.js';
import { FakeContainer } from '../testing/fake-container.js';
import { FakeIoctl } from '../testing/fake-ioctl.js';
import type { Access, AddressSpace, DmaAccount } from '../types.js';
import { type1FactsOf } from './type1-facts.js';
import { Type1Iommu } from './type1-iommu.js';

let os: FakeIoctl;
let container: FakeContainer;
let containerFd: Fd;
let iommu: Type1Iommu;
let spaces: AddressSpaces;

function open(): void {
  iommu = new Type1Iommu({ os, memory: container.memory, containerFd });
  spaces = openAddressSpaces({ iommufd: iommu, device: iommu.device });
}

beforeEach(() => {
  os = new FakeIoctl();
  container = new FakeContainer(os);
  containerFd = os.open('/dev/vfio/vfio', 2);
  open();
});

function account(): DmaAccount {
  return { placedBytesMax: 1e15, tablePagesMax: 100, placedBytes: 0, tablePages: 0 };
}

const at = (mebibytes: number) => (mebibytes * MiB) as Iova;

function memory(label = 1) {
  return { fd: os.files.create('memory', label), offsetBytes: 4096 };
}

function map(space: AddressSpace, where: Iova, lengthBytes = MiB, access: Access = 'read') {
  return space.map(memory(), where, lengthBytes, access, account());
}

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return (error as { code?: string }).code ?? (error as { errno?: string }).errno ?? error;
  }
  return 'none';
}

describe('address spaces of a container', () => {
  it('map a file by the address at which it is for as long as the call takes', async () => {
    const space = spaces.open({ pasid: undefined });
    const source = memory(77);
    const mapping = await space.map(source, at(4), 2 * MiB, 'read-write', account());
    const flags = uapi.VFIO_DMA_MAP_FLAG_READ | uapi.VFIO_DMA_MAP_FLAG_WRITE;
    const size = BigInt(2 * MiB);
    const mapped = { flags, iova: BigInt(4 * MiB), size, label: 77, offsetBytes: 4096 };
    expect([...container.maps.values()]).toEqual([mapped]);
    expect(container.mappingCount).toBe(0);
    expect(os.last(uapi.VFIO_IOMMU_MAP_DMA).fd).toBe(containerFd.number);
    await space.unmap(mapping);
    expect(container.maps.size).toBe(0);
    expect(await codeOf(space.unmap(mapping))).toBe('IOVA_NOT_MAPPED');
  });

  it('let the device do what was asked for', async () => {
    const space = spaces.open({ pasid: undefined });
    await map(space, at(1), MiB, 'read');
    await map(space, at(2), MiB, 'write');
    expect([...container.maps.values()].map(({ flags }) => flags)).toEqual([
      uapi.VFIO_DMA_MAP_FLAG_READ,
      uapi.VFIO_DMA_MAP_FLAG_WRITE,
    ]);
  });

  it('are shares of one, and end each with its own', async () => {
    const [one, other] = [spaces.open({ pasid: undefined }), spaces.open({ pasid: undefined })];
    await map(one, at(1));
    await map(other, at(2));
    expect(await codeOf(map(other, at(1)))).toBe('IOVA_OVERLAP');
    await one[Symbol.asyncDispose]();
    expect([...container.maps.keys()]).toEqual([BigInt(2 * MiB)]);
    await spaces[Symbol.asyncDispose]();
    expect(container.maps.size).toBe(0);
    expect(thrown(() => spaces.open({ pasid: 1 }))).toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('can be opened again', async () => {
    await map(spaces.open({ pasid: undefined }), at(1));
    await spaces[Symbol.asyncDispose]();
    open();
    await map(spaces.open({ pasid: undefined }), at(1));
    expect(container.maps.size).toBe(1);
  });

  it('refuse what is reserved and what is out of reach', async () => {
    const space = spaces.open({ pasid: undefined });
    expect(await codeOf(map(space, 0xfee0_0000 as Iova))).toBe('IOVA_OUTSIDE_WINDOW');
    container.iovaRanges = [{ start: 4096n, last: BigInt(GiB) - 1n }];
    await spaces[Symbol.asyncDispose]();
    open();
    const small = spaces.open({ pasid: undefined });
    expect(await codeOf(map(small, at(1024)))).toBe('IOVA_OUTSIDE_WINDOW');
    expect(await codeOf(map(small, 0 as Iova))).toBe('IOVA_OUTSIDE_WINDOW');
    expect(container.maps.size).toBe(0);
  });

  it('say that the container is full', async () => {
    container.mapsMax = 1;
    const space = spaces.open({ pasid: undefined });
    await map(space, at(1));
    expect(await codeOf(map(space, at(2)))).toBe('QUOTA_EXCEEDED');
    expect(container.mappingCount).toBe(0);
  });

  it.each([
    ['ENOMEM', 'QUOTA_EXCEEDED'],
    ['EFAULT', 'MEMORY_TOO_SMALL'],
    ['EEXIST', 'IOVA_OVERLAP'],
    ['EINVAL', 'IOVA_OUTSIDE_WINDOW'],
    ['EIO', 'EIO'],
  ] as const)('say %s of the pinning as %s, and leave no mapping', async (errno, says) => {
    const space = spaces.open({ pasid: undefined });
    os.fail(uapi.VFIO_IOMMU_MAP_DMA, errno);
    expect(await codeOf(map(space, at(1)))).toBe(says);
    expect(container.mappingCount).toBe(0);
  });

  it('name the limit that stands in the way of pinning', async () => {
    os.fail(uapi.VFIO_IOMMU_MAP_DMA, 'ENOMEM');
    const late = map(spaces.open({ pasid: undefined }), at(1));
    await expect(late).rejects.toMatchObject({ hint: expect.stringContaining('LimitMEMLOCK') });
  });

  it.each([
    ['EACCES', 'MEMORY_READ_ONLY'],
    ['EPERM', 'MEMORY_WRITE_SEALED'],
    ['EINVAL', 'IOVA_UNALIGNED'],
    ['ENOMEM', 'QUOTA_EXCEEDED'],
  ] as const)('say %s of the mapping as %s', async (errno, says) => {
    const refuse = (): never => {
      throw new OsError(errno, 'mmap');
    };
    const refusing = { seals: container.memory.seals, map: refuse };
    iommu = new Type1Iommu({ os, memory: refusing, containerFd });
    spaces = openAddressSpaces({ iommufd: iommu, device: iommu.device });
    expect(await codeOf(map(spaces.open({ pasid: undefined }), at(1)))).toBe(says);
  });

  it('refuse what is no memory before it is mapped', async () => {
    const space = spaces.open({ pasid: undefined });
    const source = { fd: os.files.create('other', 3), offsetBytes: 0 };
    expect(await codeOf(space.map(source, at(1), MiB, 'read', account()))).toBe('UNSUPPORTED');
    expect(os.calls.filter(({ request }) => request === uapi.VFIO_IOMMU_MAP_DMA)).toEqual([]);
  });
});

describe('Type1Iommu', () => {
  it('has one address space with one page table', () => {
    const ioasId = iommu.ioasAlloc();
    expect(thrown(() => iommu.ioasAlloc())).toMatchObject({ errno: 'EBUSY' });
    const request = { flags: 0, devId: 0, ptId: ioasId };
    expect(thrown(() => iommu.hwptAlloc({ ...request, ptId: 9 }))).toMatchObject({
      errno: 'ENOENT',
    });
    expect(thrown(() => iommu.hwptAlloc({ ...request, flags: 8 }))).toMatchObject({
      errno: 'EOPNOTSUPP',
    });
    const hwptId = iommu.hwptAlloc(request);
    expect(iommu.device.attach(hwptId)).toBe(hwptId);
    expect(thrown(() => iommu.device.attach(ioasId))).toMatchObject({ errno: 'ENOENT' });
    expect(thrown(() => iommu.device.attach(hwptId, 1))).toMatchObject({ errno: 'EOPNOTSUPP' });
    expect(thrown(() => iommu.destroy(ioasId))).toMatchObject({ errno: 'EBUSY' });
    iommu.destroy(hwptId);
    iommu.destroy(ioasId);
    expect(thrown(() => iommu.destroy(ioasId))).toMatchObject({ errno: 'ENOENT' });
  });

  it('places nothing by itself, and unmaps what there is', () => {
    const ioasId = iommu.ioasAlloc();
    const fd = os.files.create('memory', 1);
    const request = { ioasId, fd, start: 0n, length: 4096n, iova: 8192n };
    expect(thrown(() => iommu.ioasMapFile({ ...request, flags: 6 }))).toMatchObject({
      errno: 'EOPNOTSUPP',
    });
    expect(iommu.ioasMapFile({ ...request, flags: 7 })).toBe(8192n);
    const unmap = (iova: bigint, length: bigint) => iommu.ioasUnmap({ ioasId, iova, length });
    expect(thrown(() => unmap(0n, 4096n))).toMatchObject({ errno: 'ENOENT' });
    expect(unmap(8192n, 4096n)).toBe(4096n);
    iommu.ioasMapFile({ ...request, flags: 7 });
    expect(unmap(0n, u64Max)).toBe(4096n);
    expect(unmap(0n, u64Max)).toBe(0n);
  });

  it('takes everything from a device that leaves', () => {
    const ioasId = iommu.ioasAlloc();
    const fd = os.files.create('memory', 1);
    iommu.ioasMapFile({ flags: 7, ioasId, fd, start: 0n, length: 4096n, iova: 0n });
    iommu.device.close();
    expect(container.maps.size).toBe(0);
  });

  it('believes no answer that is too long', () => {
    os.on(uapi.VFIO_IOMMU_GET_INFO, (bytes) => {
      new DataView(bytes.buffer).setUint32(0, 0xffff_ffff, true);
    });
    expect(thrown(open)).toMatchObject({ errno: 'E2BIG' });
  });

  it('takes any answer or refuses it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4096, maxLength: 4096 }), (answer) => {
        os.on(uapi.VFIO_IOMMU_GET_INFO, (bytes) => {
          bytes.set(answer.subarray(0, bytes.length));
          new DataView(bytes.buffer).setUint32(0, answer.length, true);
          if (bytes.length > 24) new DataView(bytes.buffer).setUint32(16, 24 + answer[16]!, true);
        });
        const error = thrown(open);
        if (error === undefined) expect(iommu.device.pageBytes).toBeGreaterThan(0);
        else expect(['OsError', 'ProtocolError']).toContain((error as Error).name);
      }),
    );
  });
});

describe('the facts of a container', () => {
  const info = { pageSizes: 0x1000n, iovaRanges: [{ start: 0n, last: 99n }], mapsAvailable: 1 };

  it('are the reach of all ranges and the smallest page', () => {
    const iovaRanges = [
      { start: 0x2000n, last: 0x2fffn },
      { start: 0x8000n, last: 0xffffn },
      { start: 9n, last: 8n },
    ];
    expect(type1FactsOf({ ...info, pageSizes: 0x4020_4000n, iovaRanges })).toEqual({
      pageBytes: 0x4000,
      aperture: { start: 0x2000n, last: 0xffffn },
    });
  });

  it.each([
    [{ ...info, pageSizes: 0n }],
    [{ ...info, pageSizes: 1n << 40n }],
    [{ ...info, iovaRanges: [] }],
    [{ ...info, iovaRanges: [{ start: 9n, last: 8n }] }],
  ])('are none where nothing can be mapped (%#)', (broken) => {
    expect(thrown(() => type1FactsOf(broken))).toMatchObject({ errno: 'ENODEV' });
  });
});
