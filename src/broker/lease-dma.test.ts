import { expect, test } from 'vitest';
import { limits } from '../base/limits.js';
import { FakeMemory } from '../iommu/testing/fake-memory.js';
import type { AddressSpace, DmaMapping } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import { F_SEAL_SHRINK, type MemoryOs } from '../os/memory-types.js';
import { LeaseDma } from './lease-dma.js';

const page = 4096;
const window = { base: 0x100_0000, lengthBytes: 2 ** 30 };

function setUp() {
  const memory = new FakeMemory();
  const calls: string[] = [];
  const gone: DmaMapping[] = [];
  let lose: (mapping: DmaMapping) => void = () => undefined;
  const space = {
    pasid: 1,
    map: async (_: unknown, iova: number, lengthBytes: number, access: string) => {
      calls.push(`map ${(iova - window.base) / page}`);
      await new Promise(setImmediate);
      return { iova, lengthBytes, access };
    },
    unmap: async (mapping: DmaMapping) =>
      void calls.push(`unmap ${(mapping.iova - window.base) / page}`),
    onMemoryGone: (listener: (mapping: DmaMapping) => void) => {
      lose = listener;
      return { [Symbol.dispose]: () => void calls.push('unwatched') };
    },
    [Symbol.asyncDispose]: async () => void calls.push('closed'),
  } as unknown as AddressSpace;
  const dma = new LeaseDma({
    memory: memory as unknown as MemoryOs,
    space,
    window,
    pageBytes: page,
    allowUnsealedMemory: false,
    windowOf: () => undefined,
    windowOfFile: () => undefined,
    placedBytesMax: 2 ** 30,
    onMemoryGone: (mapping) => gone.push(mapping),
  });
  const fds: Fd[] = [];
  const map = (atPage: number, pages: number): Promise<void> => {
    const fd = memory.create(pages * page, { seals: F_SEAL_SHRINK });
    fds.push(fd);
    return dma.map({
      iova: BigInt(window.base + atPage * page),
      lengthBytes: BigInt(pages * page),
      offsetBytes: 0n,
      access: 'read-write',
      fd,
    });
  };
  const unmap = (atPage: number, pages: number): Promise<void> =>
    dma.unmap(BigInt(window.base + atPage * page), BigInt(pages * page));
  return { dma, calls, gone, fds, map, unmap, lose: (mapping: DmaMapping) => lose(mapping) };
}

test('maps and unmaps in order of arrival, counts bytes, and closes descriptors', async () => {
  const { dma, calls, fds, map, unmap } = setUp();
  await Promise.all([map(0, 2), unmap(0, 2), map(0, 1)]);
  expect(calls).toEqual(['map 0', 'unmap 0', 'map 0']);
  expect(dma.mappedBytes).toBe(page);
  expect(fds.every((fd) => !fd.isOpen)).toBe(true);
});

test('an unmap takes every map wholly inside, or none where it cuts one', async () => {
  const { dma, calls, map, unmap } = setUp();
  for (const at of [0, 2, 4]) await map(at, 2);
  await expect(unmap(0, 5)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED', errno: 'ENOENT' });
  expect(dma.mappedBytes).toBe(6 * page);
  await unmap(100, 1);
  await unmap(0, 4);
  expect(calls.slice(3)).toEqual(['unmap 0', 'unmap 2']);
  // As QEMU does.
  await dma.unmap(0n, (1n << 64n) - 1n);
  expect(dma.mappedBytes).toBe(0);
});

test('refuses what is outside, and goes on after', async () => {
  const { dma, fds, map } = setUp();
  await expect(map(-1, 1)).rejects.toMatchObject({ code: 'IOVA_OUTSIDE_WINDOW' });
  await expect(map(2 ** 18, 1)).rejects.toMatchObject({ code: 'IOVA_OUTSIDE_WINDOW' });
  await map(2 ** 18 - 1, 1);
  expect(dma.mappedBytes).toBe(page);
  expect(fds.every((fd) => !fd.isOpen)).toBe(true);
});

test('takes as many maps as the limit, and not one more', async () => {
  const { dma, map } = setUp();
  const count = limits.mapsPerLeaseMax;
  for (let at = 0; at < count; at += 1024) {
    const batch = Math.min(1024, count - at);
    await Promise.all(Array.from({ length: batch }, (_, index) => map(at + index, 1)));
  }
  await expect(map(count, 1)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
  expect(dma.mappedBytes).toBe(count * page);
});

test('tells of memory that vanished while it is mapped, and closes everything', async () => {
  const { dma, calls, gone, map, lose } = setUp();
  await map(0, 1);
  const foreign = { iova: window.base, lengthBytes: page } as DmaMapping;
  lose(foreign);
  expect(gone).toEqual([]);
  await dma.close();
  expect(calls.slice(1)).toEqual(['unmap 0', 'unwatched', 'closed']);
});
