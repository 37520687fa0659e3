import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GiB, type Iova, MiB } from '../base/units.js';
import { openAddressSpaces } from './address-space.js';
import type { SpaceCalls } from './iommufd.js';
import { DeviceIommu, faultReasonOf } from './soft/device-iommu.js';
import { nodeBytes } from './soft/node-pool.js';
import { createSoftIommu, type SoftIommuOptions } from './soft/soft-iommu.js';
import { FakeArena, FakeMemory } from './testing/fake-memory.js';
import { ManualClock } from './testing/manual-clock.js';
import type { Access, AddressSpace, DmaAccount, DmaMapping } from './types.js';

function setUp(change: Partial<SoftIommuOptions> = {}) {
  const memory = new FakeMemory();
  const arena = new FakeArena(memory, 64 * MiB);
  const clock = new ManualClock();
  const options = { arena, memory, clock, pasidBits: 4, layout: { windowBytes: 2 * MiB } };
  const iommu = createSoftIommu({ ...options, tableBytes: 16 * MiB, ...change });
  const device = new DeviceIommu(iommu.handles);
  device.park();
  return { memory, arena, clock, iommu, device };
}

function account(placedBytesMax = GiB, tablePagesMax = 100): DmaAccount {
  return { placedBytesMax, tablePagesMax, placedBytes: 0, tablePages: 0 };
}

const at = (value: number) => value as Iova;

/** What the device finds at an address: a byte of an object, or the reason of the fault. */
function probe(
  world: ReturnType<typeof setUp>,
  pasid: number | undefined,
  iova: number,
  access: 'read' | 'write' = 'read',
) {
  const offset = world.device.translate(pasid, iova, access);
  if (offset < 0) return faultReasonOf(offset);
  const page = world.arena.pageAt(offset);
  return page === undefined ? 'NOTHING THERE' : `${page.inode}:${page.offsetBytes}`;
}

function idle(world: ReturnType<typeof setUp>) {
  const { arena, iommu } = world;
  return { ranges: arena.rangeCount, placed: iommu.placedBytes, tables: iommu.tablePages };
}

describe('address space', () => {
  test('map, translate, unmap: everything is charged and comes back', async () => {
    const world = setUp();
    const before = idle(world);
    const space = world.iommu.spaces.open({ pasid: 3 });
    const lease = account();
    const fd = world.memory.create(4 * MiB);
    const inode = world.memory.identity(fd).inode;
    const memory = { fd, offsetBytes: MiB };
    const mapping = await space.map(memory, at(0x10_0000), 2 * MiB, 'read', lease);
    expect(probe(world, 3, 0x10_0005)).toBe(`${inode}:${MiB + 5}`);
    expect(probe(world, 3, 0x20_0000)).toBe(`${inode}:${2 * MiB}`);
    expect(probe(world, 3, 0x30_0000 - 1)).toBe(`${inode}:${3 * MiB - 1}`);
    expect(probe(world, 3, 0x30_0000)).toBe('not mapped');
    expect(probe(world, 3, 0x10_0000, 'write')).toBe('no permission');
    expect(probe(world, 2, 0x10_0000)).toBe('not attached');
    expect(probe(world, undefined, 0x10_0000)).toBe('not attached');
    expect(lease.placedBytes).toBe(4 * MiB);
    expect(lease.tablePages).toBe(3);
    await space.unmap(mapping);
    expect(probe(world, 3, 0x10_0005)).toBe('not mapped');
    expect([lease.placedBytes, lease.tablePages]).toEqual([0, 0]);
    await space[Symbol.asyncDispose]();
    expect(probe(world, 3, 0x10_0005)).toBe('not attached');
    expect(idle(world)).toEqual(before);
    expect(fd.isOpen).toBe(true);
    expect(world.memory.openCount).toBe(1);
  });

  test('memory and table pages are held until the device acknowledged', async () => {
    const world = setUp();
    const space = world.iommu.spaces.open({ pasid: 1 });
    const lease = account();
    const fd = world.memory.create(2 * MiB);
    const mapping = await space.map({ fd, offsetBytes: 0 }, at(0), 4096, 'read-write', lease);
    world.device.resume();
    let isDone = false;
    const done = space.unmap(mapping).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(probe(world, 1, 0)).toBe('not mapped');
    expect([isDone, world.arena.rangeCount, lease.placedBytes]).toEqual([false, 1, 2 * MiB]);
    // The same IOVA may be mapped meanwhile.
    const other = world.memory.create(4096);
    await space.map({ fd: other, offsetBytes: 0 }, at(0), 4096, 'read', lease);
    expect(probe(world, 1, 0, 'write')).toBe('no permission');
    world.device.poll();
    await done;
    expect(world.arena.rangeCount).toBe(1);
    world.device.park();
    await space[Symbol.asyncDispose]();
    expect([lease.placedBytes, lease.tablePages, world.arena.rangeCount]).toEqual([0, 0, 0]);
  });

  test('a device that never answers: DEADLINE_EXCEEDED, and nothing is reused', async () => {
    const world = setUp({ acknowledgeMsMax: 50 });
    const space = world.iommu.spaces.open({ pasid: 1 });
    const fd = world.memory.create(4096);
    const mapping = await space.map({ fd, offsetBytes: 0 }, at(0), 4096, 'read', account());
    world.device.resume();
    const done = space.unmap(mapping);
    await new Promise((resolve) => setImmediate(resolve));
    world.clock.advance(51);
    await expect(done).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(world.arena.rangeCount).toBe(1);
    world.iommu.invalidation.workerGone();
    expect(world.arena.rangeCount).toBe(0);
  });

  test('each wrong map has its code, and leaves nothing', async () => {
    const world = setUp({ mapsMax: 2, reserved: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn }] });
    const space = world.iommu.spaces.open({ pasid: undefined });
    const lease = account();
    const fd = world.memory.create(MiB);
    await space.map({ fd, offsetBytes: 0 }, at(4096), 4096, 'read', lease);
    const before = idle(world);
    const foreign = world.memory.create(MiB, { isShmem: false });
    const closed = world.memory.create(MiB);
    closed.close();
    const poor = account(MiB - 1);
    const noTables = account(GiB, 1);
    const cases: [string, number, number, number, typeof fd, DmaAccount][] = [
      ['IOVA_OVERLAP', 4096, 4096, 0, fd, lease],
      ['IOVA_OVERLAP', 0, 3 * 4096, 0, fd, lease],
      ['IOVA_UNALIGNED', 1, 4096, 0, fd, lease],
      ['IOVA_UNALIGNED', 0, 4095, 0, fd, lease],
      ['IOVA_UNALIGNED', 0, 4096, 1, fd, lease],
      ['INVALID_ARGUMENT', 0, 0, 0, fd, lease],
      ['INVALID_ARGUMENT', -4096, 4096, 0, fd, lease],
      ['INVALID_ARGUMENT', 2 ** 48, 4096, 0, fd, lease],
      ['IOVA_OUTSIDE_WINDOW', 2 ** 48 - 4096, 8192, 0, fd, lease],
      ['IOVA_OUTSIDE_WINDOW', 0xfee0_0000, 4096, 0, fd, lease],
      ['IOVA_OUTSIDE_WINDOW', 0xfee0_0000 - 4096, 8192, 0, fd, lease],
      ['MEMORY_TOO_SMALL', 2 ** 20, 4096, MiB, fd, lease],
      ['MEMORY_TOO_SMALL', 2 ** 20, MiB, 4096, fd, lease],
      ['MEMORY_NOT_SHMEM', 2 ** 20, 4096, 0, foreign, lease],
      ['FD_REFUSED', 2 ** 20, 4096, 0, closed, lease],
      ['QUOTA_EXCEEDED', 2 ** 20, 4096, 0, fd, poor],
      ['QUOTA_EXCEEDED', 2 ** 40, 4096, 0, fd, noTables],
    ];
    for (const [code, iova, lengthBytes, offsetBytes, file, payer] of cases) {
      const map = space.map({ fd: file, offsetBytes }, at(iova), lengthBytes, 'read', payer);
      await expect(map, `${code} at ${iova}`).rejects.toMatchObject({ code });
      expect(idle(world), `${code} at ${iova}`).toEqual(before);
    }
    expect([poor.placedBytes, noTables.placedBytes, noTables.tablePages]).toEqual([0, 0, 0]);
    const last = at(2 ** 48 - 4096);
    await space.map({ fd, offsetBytes: 0 }, last, 4096, 'read', lease);
    expect(probe(world, undefined, 2 ** 48 - 1)).toBe(`${world.memory.identity(fd).inode}:4095`);
    await expect(
      space.map({ fd, offsetBytes: 0 }, at(0), 4096, 'read', lease),
    ).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
  });

  test('memory without a descriptor blocks its IOVA and faults as not reachable', async () => {
    const world = setUp();
    const space = world.iommu.spaces.open({ pasid: 1 });
    const lease = account();
    const nothing = { fd: undefined, offsetBytes: 0 };
    const mapping = await space.map(nothing, at(0), 2 ** 40, 'read-write', lease);
    expect(probe(world, 1, 2 ** 40 - 1, 'write')).toBe('not reachable');
    const fd = world.memory.create(4096);
    await expect(
      space.map({ fd, offsetBytes: 0 }, at(4096), 4096, 'read', lease),
    ).rejects.toMatchObject({ code: 'IOVA_OVERLAP' });
    await space.unmap(mapping);
    expect(probe(world, 1, 0)).toBe('not mapped');
    expect(lease.tablePages).toBe(0);
  });

  test('shares of the plain space remove only what is theirs', async () => {
    const world = setUp();
    const [one, other] = [1, 2].map(() => world.iommu.spaces.open({ pasid: undefined })) as [
      AddressSpace,
      AddressSpace,
    ];
    const [payer, otherPayer] = [account(), account()];
    const fd = world.memory.create(MiB);
    const inode = world.memory.identity(fd).inode;
    const memory = { fd, offsetBytes: 0 };
    const mine = await one.map(memory, at(0), 4096, 'read', payer);
    const theirs = await other.map(memory, at(4096), 4096, 'read', otherPayer);
    expect(theirs.iova).toBe(4096);
    await expect(other.map(memory, at(0), 4096, 'read', otherPayer)).rejects.toMatchObject({
      code: 'IOVA_OVERLAP',
    });
    await expect(other.unmap(mine)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
    await expect(other.unmap({ ...mine })).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
    await one[Symbol.asyncDispose]();
    await one[Symbol.asyncDispose]();
    expect(probe(world, undefined, 0)).toBe('not mapped');
    expect(probe(world, undefined, 4096)).toBe(`${inode}:0`);
    expect([payer.placedBytes, payer.tablePages]).toEqual([0, 0]);
    await expect(one.map(memory, at(0), 4096, 'read', payer)).rejects.toMatchObject({
      code: 'LEASE_ENDED',
    });
    await expect(one.unmap(mine)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
    await other[Symbol.asyncDispose]();
    expect(probe(world, undefined, 4096)).toBe('not mapped');
    // The shared space is still there for the next lease.
    const next = world.iommu.spaces.open({ pasid: undefined });
    await next.map(memory, at(0), 4096, 'read', payer);
    expect(probe(world, undefined, 0)).toBe(`${inode}:0`);
    await world.iommu.spaces[Symbol.asyncDispose]();
    expect(probe(world, undefined, 0)).toBe('not attached');
    expect(idle(world)).toEqual({ ranges: 0, placed: 0, tables: 0 });
  });

  test('PASIDs are separate, refused when 0, taken or too wide, and free again after dispose', async () => {
    const world = setUp();
    const { spaces } = world.iommu;
    const one = spaces.open({ pasid: 1 });
    spaces.open({ pasid: 15 });
    spaces.open({ pasid: undefined });
    for (const pasid of [0, 1, 16, -1, 0.5]) {
      expect(() => spaces.open({ pasid })).toThrowError(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    }
    const fd = world.memory.create(4096);
    await one.map({ fd, offsetBytes: 0 }, at(0), 4096, 'read', account());
    expect(probe(world, 15, 0)).toBe('not mapped');
    await one[Symbol.asyncDispose]();
    const again = spaces.open({ pasid: 1 });
    expect(probe(world, 1, 0)).toBe('not mapped');
    await again[Symbol.asyncDispose]();
    const plain = setUp({ pasidBits: 0 });
    expect(() => plain.iommu.spaces.open({ pasid: 1 })).toThrowError(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
    plain.iommu.spaces.open({ pasid: undefined });
    expect(probe(plain, undefined, 0)).toBe('not mapped');
  });

  test('a truncated object is named to the leases that mapped it, once', async () => {
    const world = setUp();
    const one = world.iommu.spaces.open({ pasid: 1 });
    const other = world.iommu.spaces.open({ pasid: 2 });
    const seen: [string, DmaMapping][] = [];
    one.onMemoryGone((mapping) => seen.push(['one', mapping]));
    const listening = other.onMemoryGone((mapping) => seen.push(['other', mapping]));
    const fd = world.memory.create(4 * MiB);
    const hit = await one.map({ fd, offsetBytes: 0 }, at(0), 4096, 'read', account());
    await one.map({ fd, offsetBytes: 2 * MiB }, at(4096), 4096, 'read', account());
    const shared = await other.map({ fd, offsetBytes: 8192 }, at(0), 4096, 'read', account());
    world.arena.faultAt(world.device.translate(1, 0, 'read'));
    world.iommu.iommufd.checkFaults();
    world.iommu.iommufd.checkFaults();
    expect(seen).toEqual([
      ['one', hit],
      ['other', shared],
    ]);
    listening[Symbol.dispose]();
  });

  test('an open that runs out of table pages leaves nothing', () => {
    const world = setUp({ tableBytes: 3 * nodeBytes });
    world.iommu.spaces.open({ pasid: 1 });
    world.iommu.spaces.open({ pasid: 2 });
    expect(() => world.iommu.spaces.open({ pasid: 3 })).toThrowError(
      expect.objectContaining({ code: 'ARENA_FULL' }),
    );
    expect(world.iommu.tablePages).toBe(2);
    expect(probe(world, 3, 0)).toBe('not attached');
  });
});

describe('address spaces against a map of pages', () => {
  const pasids = [undefined, 1, 2] as const;
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('map' as const),
      space: fc.nat(2),
      page: fc.oneof(fc.nat(40), fc.integer({ min: 505, max: 520 })),
      pages: fc.constantFrom(1, 2, 3, 8, 513),
      file: fc.nat(2),
      filePage: fc.constantFrom(0, 1, 511, 512, 600),
      access: fc.constantFrom<Access>('read', 'write', 'read-write'),
    }),
    fc.record({ kind: fc.constant('unmap' as const), space: fc.nat(2), pick: fc.nat(100) }),
  );

  test('every lease reaches its own pages and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const world = setUp();
        const files = [0, 1, 2].map(() => world.memory.create(5 * MiB));
        const leases = pasids.map((pasid) => ({
          pasid,
          space: world.iommu.spaces.open({ pasid }),
          account: account(),
          pages: new Map<number, { what: string; access: Access }>(),
          mappings: [] as DmaMapping[],
        }));
        for (const each of steps) {
          const lease = leases[each.space]!;
          if (each.kind === 'unmap') {
            const mapping = lease.mappings.splice(each.pick % (lease.mappings.length || 1), 1)[0];
            if (mapping === undefined) continue;
            await lease.space.unmap(mapping);
            for (let page = 0; page < mapping.lengthBytes / 4096; page++) {
              lease.pages.delete(mapping.iova / 4096 + page);
            }
            continue;
          }
          const fd = files[each.file]!;
          const { inode } = world.memory.identity(fd);
          const wanted = [...Array(each.pages).keys()];
          const isFree = wanted.every((page) => !lease.pages.has(each.page + page));
          const memory = { fd, offsetBytes: each.filePage * 4096 };
          const map = lease.space.map(
            memory,
            at(each.page * 4096),
            each.pages * 4096,
            each.access,
            lease.account,
          );
          if (!isFree) {
            await expect(map).rejects.toMatchObject({ code: 'IOVA_OVERLAP' });
            continue;
          }
          lease.mappings.push(await map);
          for (const page of wanted) {
            const what = `${inode}:${(each.filePage + page) * 4096}`;
            lease.pages.set(each.page + page, { what, access: each.access });
          }
        }
        const wrong: string[] = [];
        for (const lease of leases) {
          for (let page = 0; page < 1100; page += page < 60 || page > 500 ? 1 : 20) {
            const entry = lease.pages.get(page);
            for (const access of ['read', 'write'] as const) {
              const isAdmitted = entry?.access === 'read-write' || entry?.access === access;
              const refusal = entry === undefined ? 'not mapped' : 'no permission';
              const wanted = isAdmitted ? entry!.what : refusal;
              const found = probe(world, lease.pasid, page * 4096, access);
              if (found !== wanted) wrong.push(`${lease.pasid} ${page}: ${found}, not ${wanted}`);
            }
          }
        }
        expect(wrong).toEqual([]);
        await world.iommu.spaces[Symbol.asyncDispose]();
        for (const lease of leases) {
          expect([lease.account.placedBytes, lease.account.tablePages]).toEqual([0, 0]);
        }
        expect(idle(world)).toEqual({ ranges: 0, placed: 0, tables: 0 });
      }),
      { numRuns: 40 },
    );
  });

  test('an iommufd that takes bigints alone serves the same', async () => {
    const results: unknown[][] = [];
    for (const isExact of [false, true]) {
      const world = setUp();
      const { device } = world.iommu;
      const iommufd = isExact ? exactOnly(world.iommu.iommufd) : world.iommu.iommufd;
      const space = openAddressSpaces({ iommufd, device }).open({ pasid: 5 });
      const lease = account();
      const fd = world.memory.create(4 * MiB);
      const outcomes: unknown[] = [];
      const map = async (
        offsetBytes: number,
        iova: number,
        lengthBytes: number,
        fdOrNone = true,
      ) => {
        const memory = { fd: fdOrNone ? fd : undefined, offsetBytes };
        const mapping = await space
          .map(memory, at(iova), lengthBytes, 'read', lease)
          .catch((error: unknown) => error as { code: string });
        outcomes.push('code' in mapping ? mapping.code : probe(world, 5, iova));
        return mapping as DmaMapping;
      };
      const first = await map(4096, 4096, 4096);
      const large = await map(0, 2 ** 40, 4 * MiB);
      await map(0, 2 ** 40 + 2 * MiB, 4096);
      await map(0, 0, 3 * 4096);
      await map(4 * MiB, 16_384, 4096);
      await map(8192, 2 ** 41, 8192, false);
      await space.unmap(first);
      await space.unmap(large);
      for (const iova of [4096, 2 ** 40]) outcomes.push(probe(world, 5, iova));
      await map(0, 0, 3 * 4096);
      outcomes.push(lease.placedBytes, lease.tablePages);
      await space[Symbol.asyncDispose]();
      outcomes.push(lease.placedBytes, lease.tablePages, world.arena.rangeCount);
      results.push(outcomes);
    }
    expect(results[0]).toEqual(results[1]);
    expect(results[0]).toContain('IOVA_OVERLAP');
    expect(results[0]).toContain('MEMORY_TOO_SMALL');
    expect(results[0]!.slice(-3)).toEqual([0, 0, 0]);
  });
});

/** An iommufd as the kernel's is: without the calls that are there for speed. */
function exactOnly(iommufd: SpaceCalls): SpaceCalls {
  return new Proxy(iommufd, {
    get(target, name) {
      if (name === 'ioasMapLow' || name === 'ioasUnmapLow') return undefined;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
