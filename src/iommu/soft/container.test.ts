// The legacy container over an IOAS: which IOAS, its calls, and areas that are cut.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, createIoasWorld, PAGE } from '../testing/ioas-world.js';
import { faultNumber } from './device-iommu.js';

const GET = 0;
const SET = 1;
const CLEAR = 2;
const TYPE1 = 1;
const TYPE1v2 = 3;
const VA = 0x7000_0000n;

/** The IOAS is the container's, with 32 pages of memory at `VA`. */
function setUp(type = TYPE1v2) {
  const world = createIoasWorld();
  const { iommufd, ioasId } = world;
  const fd = world.memory.create(8 * MiB);
  const bytes = new Uint8Array(32 * 4096);
  world.userMemory.register({ address: VA, fd, offsetBytes: 0, bytes, isWritable: true });
  iommufd.vfioIoas({ op: SET, ioasId });
  iommufd.setIommu(type);
  const map = (iova: bigint, size: bigint, vaddr = VA, flags = 3) =>
    errnoOf(() => iommufd.mapDma({ flags, vaddr, iova, size }));
  const unmap = (iova: bigint, size: bigint, flags = 0) =>
    errnoOf(() => iommufd.unmapDma({ flags, iova, size }));
  return { ...world, mapDma: map, unmapDma: unmap };
}

const done = (size: bigint) => ({ size, errno: undefined });

describe('VFIO_IOAS', () => {
  test('GET, SET and CLEAR; DESTROY clears it', () => {
    const { iommufd, ioasId } = createIoasWorld();
    const call = (op: number, id = 99) => errnoOf(() => iommufd.vfioIoas({ op, ioasId: id }));
    expect(call(GET)).toBe('ENODEV');
    expect(call(SET)).toBe('ENOENT');
    expect(call(9)).toBe('EOPNOTSUPP');
    expect(call(SET, ioasId)).toBe(ioasId);
    expect(call(GET)).toBe(ioasId);
    expect(call(CLEAR)).toBe(99);
    expect([call(GET), call(CLEAR)]).toEqual(['ENODEV', 99]);
    call(SET, ioasId);
    iommufd.destroy(ioasId);
    expect(call(GET)).toBe('ENODEV');
  });

  test('an IOAS is made for a container that has none, and is an ordinary one', () => {
    const { iommufd, ioasId } = createIoasWorld();
    const made = iommufd.ensureContainerIoas();
    expect([made === ioasId, iommufd.ensureContainerIoas()]).toEqual([false, made]);
    iommufd.destroy(made);
    expect(errnoOf(() => iommufd.vfioIoas({ op: GET, ioasId: 0 }))).toBe('ENODEV');
  });
});

describe('container', () => {
  test('without an IOAS: ENODEV, after what is wrong with the call itself', () => {
    const { iommufd } = createIoasWorld();
    const map = (flags: number) =>
      errnoOf(() => iommufd.mapDma({ flags, vaddr: 0n, iova: 0n, size: 0n }));
    const unmap = (flags: number) => errnoOf(() => iommufd.unmapDma({ flags, iova: 1n, size: 0n }));
    expect([map(4), map(3)]).toEqual(['EINVAL', 'ENODEV']);
    expect([unmap(1), unmap(4), unmap(2)]).toEqual(['EINVAL', 'EINVAL', 'ENODEV']);
    expect(errnoOf(() => iommufd.setIommu(2))).toBe('EINVAL');
    expect(errnoOf(() => iommufd.setIommu(TYPE1))).toBe('ENODEV');
    expect(errnoOf(() => iommufd.checkExtension(4))).toBe('ENODEV');
    expect(errnoOf(() => iommufd.containerInfo())).toBe('ENODEV');
    expect([
      iommufd.apiVersion(),
      ...[0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11].map((each) => iommufd.checkExtension(each)),
    ]).toEqual([0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
  });

  test('coherency is what every page table of the IOAS enforces', () => {
    const world = setUp();
    expect(world.iommufd.checkExtension(4)).toBe(1);
    attachOne(world, world.ioasId);
    expect(world.iommufd.checkExtension(4)).toBe(1);
  });

  test('info: page sizes of all tables, ranges, and no limit on maps', () => {
    const world = setUp();
    const whole = [{ start: 0n, last: u64Max }];
    expect(world.iommufd.containerInfo()).toEqual({
      pageSizes: 0xffff_ffff_ffff_f000n,
      iovaRanges: whole,
      mapsAvailable: 2 ** 32 - 1,
    });
    attachOne(world, world.ioasId);
    const info = world.iommufd.containerInfo();
    expect(info.pageSizes).toBe(0x4020_1000n);
    expect(info.iovaRanges).toEqual([{ start: 0n, last: 2n ** 48n - 1n }]);
  });

  test('maps are fixed, and may allow nothing until a page table refuses it', () => {
    const { mapDma, ...world } = setUp();
    expect(mapDma(0n, PAGE)).toBeUndefined();
    expect(mapDma(0n, PAGE)).toBe('EEXIST');
    expect(mapDma(PAGE, 0n)).toBe('EINVAL');
    expect(mapDma(PAGE, PAGE, u64Max)).toBe('EOVERFLOW');
    expect(mapDma(u64Max, 2n)).toBe('EOVERFLOW');
    expect(mapDma(u64Max, 1n)).toBeUndefined();
    expect(world.unmapDma(u64Max, 1n)).toEqual(done(1n));
    expect(mapDma(PAGE, PAGE, VA, 0)).toBeUndefined();
    const device = world.iommufd.bind(world.createUnit());
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EINVAL');
    expect(world.unmapDma(PAGE, PAGE)).toEqual(done(PAGE));
    device.attach(world.ioasId);
    expect(mapDma(PAGE, PAGE, VA, 0)).toBe('EINVAL');
    expect(mapDma(PAGE, PAGE, 0n, 0)).toBe('EFAULT');
    expect(mapDma(PAGE, PAGE)).toBeUndefined();
  });

  test('version 2 unmaps whole areas: what was removed is told also with an error', () => {
    const { mapDma, unmapDma } = setUp();
    mapDma(0x1000n, PAGE);
    mapDma(0x3000n, 2n * PAGE);
    expect(unmapDma(0x8000n, PAGE)).toEqual(done(0n));
    expect(unmapDma(0n, 0n)).toEqual({ size: 0n, errno: 'EINVAL' });
    expect(unmapDma(u64Max, 2n)).toEqual({ size: 0n, errno: 'EOVERFLOW' });
    expect(unmapDma(0n, 0x4000n)).toEqual({ size: PAGE, errno: 'ENOENT' });
    expect(unmapDma(1n, 0n, 2)).toBe('EINVAL');
    expect(unmapDma(0n, 1n, 2)).toBe('EINVAL');
    expect(unmapDma(0n, 0n, 2)).toEqual(done(2n * PAGE));
    expect(unmapDma(0n, 0n, 2)).toEqual(done(0n));
  });
});

describe('cuts of the first version', () => {
  test('the first version takes large pages away, unless they are in use', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    world.mapDma(0n, PAGE);
    expect(errnoOf(() => world.iommufd.setIommu(TYPE1))).toBe('EINVAL');
    world.unmapDma(0n, 0n, 2);
    world.iommufd.setIommu(TYPE1);
    expect(world.iommufd.ioasIovaRanges(world.ioasId, 1).alignment).toBe(PAGE);
  });

  test('a hole in the middle leaves both ends, which share what is placed', () => {
    const world = setUp(TYPE1);
    const { unit, device } = attachOne(world, world.ioasId);
    world.mapDma(0x1_0000n, 8n * PAGE);
    const iommu = world.translator(unit);
    const at = (iova: number) => iommu.translate(undefined, iova, 'write');
    const offsets = [at(0x1_1000), at(0x1_7000)];
    expect(world.unmapDma(0x1_2000n, 3n * PAGE)).toEqual(done(3n * PAGE));
    expect([at(0x1_1000), at(0x1_7000)]).toEqual(offsets);
    expect([at(0x1_2000), at(0x1_4000)]).toEqual(Array(2).fill(faultNumber('not mapped')));
    expect(world.mapDma(0x1_2000n, 3n * PAGE)).toBeUndefined();
    device.detach();
    device.attach(world.ioasId);
    expect(at(0x1_5000)).toBeGreaterThanOrEqual(0);
    expect(world.unmapDma(0n, 0n, 2)).toEqual(done(8n * PAGE));
    expect([world.extents.count, world.arena.rangeCount]).toEqual([0, 0]);
  });

  test('a cut off the page is EINVAL, and nothing is unmapped', () => {
    const { mapDma, unmapDma } = setUp(TYPE1);
    mapDma(0n, 4n * PAGE);
    expect(unmapDma(PAGE, PAGE + 1n)).toBe('EINVAL');
    expect(unmapDma(PAGE + 1n, 4n * PAGE)).toBe('EINVAL');
    expect(unmapDma(0n, 4n * PAGE)).toEqual(done(4n * PAGE));
  });

  test('an area of another account, cut: it owes nothing when both parts are gone', () => {
    const world = setUp(TYPE1);
    attachOne(world, world.ioasId);
    const account = { placedBytesMax: 4 * MiB, tablePagesMax: 9, placedBytes: 0, tablePages: 0 };
    world.map({ iova: 0n, length: 4n * PAGE, account });
    expect(world.unmapDma(0n, PAGE)).toEqual(done(PAGE));
    expect(account.tablePages).toBeGreaterThan(0);
    expect(world.unmapDma(PAGE, 2n * PAGE)).toEqual(done(2n * PAGE));
    expect(account.placedBytes).toBe(2 * MiB);
    expect(world.unmapDma(3n * PAGE, PAGE)).toEqual(done(PAGE));
    expect([account.placedBytes, account.tablePages]).toEqual([0, 0]);
  });

  test('any unmap of whole pages removes exactly what is there, page by page', () => {
    const step = fc.record({
      isMap: fc.boolean(),
      page: fc.nat(15),
      pages: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, hasDomain) => {
        const world = setUp(TYPE1);
        const unit = hasDomain ? attachOne(world, world.ioasId).unit : undefined;
        /** What each page of the space shows of the source. */
        const model = new Map<number, number>();
        for (const { isMap, page, pages } of steps) {
          const covered = Array.from({ length: pages }, (_, index) => page + index);
          const met = covered.filter((each) => model.has(each));
          const [iova, size] = [BigInt(page) * PAGE, BigInt(pages) * PAGE];
          if (isMap) {
            const wanted = met.length > 0 ? 'EEXIST' : undefined;
            expect(world.mapDma(iova, size, VA + iova)).toBe(wanted);
            if (met.length === 0) for (const each of covered) model.set(each, each);
          } else {
            expect(world.unmapDma(iova, size)).toEqual(done(BigInt(met.length) * PAGE));
            for (const each of met) model.delete(each);
          }
          if (unit === undefined) continue;
          const iommu = world.translator(unit);
          for (let each = 0; each < 22; each++) {
            const offset = iommu.translate(undefined, each * 4096, 'read');
            const shown = offset < 0 ? undefined : world.arena.pageAt(offset)!.offsetBytes / 4096;
            expect(shown).toBe(model.get(each));
          }
        }
        expect(world.unmapDma(0n, 0n, 2)).toEqual(done(BigInt(model.size) * PAGE));
        expect([world.extents.count, world.arena.rangeCount]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });
});
