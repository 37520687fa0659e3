// Rules of COPY, and what areas over the same memory share.

import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { type CopyRequest, u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, createIoasWorld, FIXED, PAGE, R, W } from '../testing/ioas-world.js';
import { faultNumber } from './device-iommu.js';

const FROM = 0x10_0000n;

/** Four pages of a file at `FROM` of one IOAS, and a second IOAS. */
function setUp(options: { readonly isLazy?: boolean; readonly flags?: number } = {}) {
  const world = createIoasWorld();
  const source = world.ioasId;
  const device = options.isLazy ? undefined : attachOne(world, source).device;
  world.map({ flags: options.flags ?? FIXED | R | W, iova: FROM, length: 4n * PAGE, start: PAGE });
  const target = world.iommufd.ioasAlloc();
  const good = {
    flags: FIXED | R | W,
    dstIoasId: target,
    srcIoasId: source,
    length: PAGE,
    dstIova: PAGE,
    srcIova: FROM,
  };
  const copy = (change: Partial<CopyRequest> = {}) =>
    errnoOf(() => world.iommufd.ioasCopy({ ...good, ...change }));
  return { ...world, source, target, device, copy };
}

type CopyWorld = ReturnType<typeof setUp>;

/** The byte of its file that a device finds at an IOVA; -1 when nothing is mapped. */
function reader(world: CopyWorld, ioasId: number) {
  const { unit } = attachOne(world, ioasId);
  const iommu = world.translator(unit);
  return (iova: bigint, access: 'read' | 'write' = 'read') => {
    const offset = iommu.translate(undefined, Number(iova), access);
    return offset < 0 ? offset : world.arena.pageAt(offset)!.offsetBytes;
  };
}

describe('COPY: errnos in order', () => {
  const all = 2n ** 64n;
  test.each([
    ['flags before anything else', { flags: 8, length: u64Max, srcIoasId: 99 }, 'EOPNOTSUPP'],
    ['length U64_MAX', { flags: 0, length: u64Max }, 'EOVERFLOW'],
    ['src_iova U64_MAX', { flags: 0, srcIova: u64Max }, 'EOVERFLOW'],
    ['dst_iova U64_MAX, also when not fixed', { flags: R, dstIova: u64Max }, 'EOVERFLOW'],
    ['neither R nor W', { flags: FIXED, srcIoasId: 99 }, 'EINVAL'],
    ['the source IOAS', { srcIoasId: 99, length: 0n, dstIoasId: 99 }, 'ENOENT'],
    ['length 0', { length: 0n, srcIova: 0n, dstIoasId: 99 }, 'EINVAL'],
    ['src_iova + length', { srcIova: u64Max - 1n, length: 3n, dstIoasId: 99 }, 'EOVERFLOW'],
    ['a gap at the start', { srcIova: FROM - 1n, dstIoasId: 99 }, 'ENOENT'],
    ['a gap at the end', { length: 4n * PAGE + 1n, dstIova: all - PAGE }, 'ENOENT'],
    ['the destination IOAS', { dstIoasId: 99, dstIova: all - PAGE + 1n }, 'ENOENT'],
    ['dst_iova + length', { dstIova: all - PAGE + 1n }, 'EOVERFLOW'],
    ['ends exactly at 2^64', { dstIova: all - PAGE }, all - PAGE],
    ['bytes', { srcIova: FROM + 3n, length: 5n, dstIova: 9n }, 9n],
    ['an alias in the same IOAS', { dstIoasId: 1, dstIova: 0n }, 0n],
    ['onto itself', { dstIoasId: 1, dstIova: FROM }, 'EEXIST'],
  ] as [string, Partial<CopyRequest>, unknown][])('%s', (_name, change, wanted) => {
    expect(setUp().copy(change)).toBe(wanted);
  });

  test('with a domain: placement before WRITEABLE before the offset in the page', () => {
    const world = setUp({ isLazy: true, flags: FIXED | R });
    attachOne(world, world.target);
    const { copy } = world;
    expect(copy({ length: 1n })).toBe('EINVAL');
    expect(copy({ dstIova: 2n ** 48n })).toBe('EINVAL');
    expect(copy({ srcIova: FROM + 1n })).toBe('EPERM');
    expect(copy({ srcIova: FROM + 1n, flags: FIXED | R })).toBe('EINVAL');
    expect(copy({ flags: FIXED | R })).toBe(PAGE);
    expect(copy({})).toBe('EEXIST');
  });

  test('WRITEABLE is limited by how the memory was first mapped, not by the area', () => {
    const world = setUp();
    expect(world.copy({ flags: FIXED | R })).toBe(PAGE);
    const again = { srcIoasId: world.target, srcIova: PAGE, dstIova: 2n * PAGE };
    expect(world.copy(again)).toBe(2n * PAGE);
    expect(setUp({ flags: FIXED | R }).copy()).toBe('EPERM');
    expect(setUp({ flags: FIXED | W }).copy({ flags: FIXED | R })).toBe(PAGE);
  });

  test('the place of an automatic copy follows the source’s bytes', () => {
    const lazy = setUp({ isLazy: true });
    expect(lazy.copy({ flags: R, srcIova: FROM + 0x123n, length: 16n })).toBe(0x1123n);
    expect(lazy.copy({ flags: R, srcIova: FROM + PAGE, length: 2n * PAGE })).toBe(0x2000n);
  });
});

describe('COPY: what is shared', () => {
  test('a slice shows its part of the file, and outlives the area and the IOAS', () => {
    const world = setUp();
    const read = reader(world, world.target);
    world.copy({ srcIova: FROM + 2n * PAGE, length: 2n * PAGE, dstIova: 0x5000n });
    world.device!.close();
    world.iommufd.destroy(world.source);
    expect(read(0x5000n)).toBe(3 * 4096);
    expect(read(0x6000n, 'write')).toBe(4 * 4096);
    expect(read(0x7000n)).toBe(faultNumber('not mapped'));
    expect(world.iommufd.ioasUnmap({ ioasId: world.target, iova: 0n, length: u64Max })).toBe(8192n);
    expect([world.extents.count, world.arena.rangeCount]).toEqual([0, 0]);
  });

  test('a range over several areas makes as many, each to be unmapped alone', () => {
    const world = setUp();
    world.map({ iova: FROM + 4n * PAGE, start: 0n });
    const read = reader(world, world.target);
    const what = { srcIova: FROM + 3n * PAGE, length: 2n * PAGE, dstIova: 0x5000n };
    expect(world.copy(what)).toBe(0x5000n);
    expect([read(0x5000n), read(0x6000n)]).toEqual([4 * 4096, 0]);
    expect(world.unmap(0x6000n, PAGE, world.target)).toBe(PAGE);
    expect([read(0x5000n), read(0x6000n)]).toEqual([4 * 4096, faultNumber('not mapped')]);
    expect(world.copy({ ...what, srcIova: FROM + PAGE })).toBe('EEXIST');
    expect(world.unmap(0x5000n, PAGE, world.target)).toBe(PAGE);
  });

  test('protection of the copy is its own', () => {
    const world = setUp();
    const read = reader(world, world.target);
    world.copy({ flags: FIXED | R });
    expect(read(PAGE)).toBe(4096);
    expect(read(PAGE, 'write')).toBe(faultNumber('no permission'));
  });

  test('an account pays once for the memory that its areas share', () => {
    const world = createIoasWorld();
    attachOne(world, world.ioasId);
    const account = { placedBytesMax: 2 * MiB, tablePagesMax: 9, placedBytes: 0, tablePages: 0 };
    world.map({ account });
    const what = { flags: FIXED | R, dstIoasId: world.ioasId, srcIoasId: world.ioasId };
    const copy = (dstIova: bigint, other?: typeof account) =>
      errnoOf(() =>
        world.iommufd.ioasCopy({ ...what, length: PAGE, srcIova: PAGE, dstIova, account: other }),
      );
    expect(copy(0x5000n)).toBe(0x5000n);
    expect(account.placedBytes).toBe(2 * MiB);
    expect(copy(0x6000n, { ...account, placedBytes: 1 })).toBe('ENOMEM');
    expect(world.unmap(PAGE, PAGE)).toBe(PAGE);
    expect(account.placedBytes).toBe(2 * MiB);
    expect(world.unmap(0x5000n, PAGE)).toBe(PAGE);
    expect([account.placedBytes, account.tablePages, world.extents.count]).toEqual([0, 0, 0]);
  });

  test('a lazy copy of lazy memory is placed by the first domain, from the file', () => {
    const world = setUp({ isLazy: true });
    expect(world.copy()).toBe(PAGE);
    world.iommufd.destroy(world.source);
    world.fd.close();
    expect(world.extents.count).toBe(0);
    expect(reader(world, world.target)(PAGE)).toBe(4096);
    world.unmap(0n, u64Max, world.target);
    expect(world.memory.openCount).toBe(0);
  });

  test('a copy of placed memory whose file nobody keeps is placed at once', () => {
    const world = setUp();
    world.memory.resize(world.fd, 0);
    expect(world.copy()).toBe(PAGE);
    world.device!.close();
    world.iommufd.destroy(world.source);
    expect(world.extents.count).toBe(1);
    expect(reader(world, world.target)(PAGE)).toBe(4096);
  });

  test('placed memory serves another area of it even when the file is gone', () => {
    const world = setUp({ isLazy: true });
    world.copy({ length: 2n * PAGE });
    const read = reader(world, world.target);
    world.memory.resize(world.fd, 0);
    // Two of four pages are placed: the others are not there any more.
    const device = world.iommufd.bind(world.createUnit());
    expect(errnoOf(() => device.attach(world.source))).toBe('EINVAL');
    world.memory.resize(world.fd, 5 * 4096);
    expect(device.attach(world.source)).toBeTypeOf('number');
    expect(read(PAGE)).toBe(4096);
  });

  test('memory that only messages reach is copied as such', () => {
    const world = createIoasWorld();
    const { ioasId, iommufd } = world;
    const { unit } = attachOne(world, ioasId);
    iommufd.ioasMapUnreachable({ flags: FIXED | R, ioasId, length: PAGE, iova: PAGE });
    const what = { dstIoasId: ioasId, srcIoasId: ioasId, length: PAGE, srcIova: PAGE };
    expect(iommufd.ioasCopy({ ...what, flags: FIXED | R, dstIova: 0x5000n })).toBe(0x5000n);
    const write = { ...what, flags: FIXED | W, dstIova: 0x6000n };
    expect(errnoOf(() => iommufd.ioasCopy(write))).toBe('EPERM');
    const found = world.translator(unit).translate(undefined, 0x5000, 'read');
    expect(found).toBe(faultNumber('not reachable'));
  });
});

describe('COPY: all or nothing', () => {
  test('a second area that cannot be placed takes the first one along', () => {
    const world = setUp({ isLazy: true });
    const foreign = world.memory.create(MiB, { isShmem: false });
    world.map({ iova: FROM + 4n * PAGE, fd: foreign });
    const read = reader(world, world.target);
    const tables = world.pool.usedCount;
    const what = { srcIova: FROM + 3n * PAGE, length: 2n * PAGE, dstIova: 2n ** 40n };
    expect(world.copy(what)).toBe('EINVAL');
    expect(read(2n ** 40n)).toBe(faultNumber('not mapped'));
    expect([world.extents.count, world.pool.usedCount]).toEqual([0, tables]);
    expect(world.unmap(0n, u64Max, world.target)).toBe(0n);
    expect(world.copy({ ...what, length: PAGE })).toBe(2n ** 40n);
    world.unmap(0n, u64Max, world.target);
    world.iommufd.destroy(world.source);
    expect(world.memory.openCount).toBe(2);
  });

  test('a full account leaves nothing of it', () => {
    const world = setUp();
    attachOne(world, world.target);
    const account = { placedBytesMax: 4 * MiB, tablePagesMax: 1, placedBytes: 0, tablePages: 0 };
    world.map({ iova: FROM + 4n * PAGE, start: BigInt(2 * MiB) });
    const before = world.pool.usedCount;
    // Its two areas lie in two leaves of the table: one page too many.
    const dstIova = 0x1f_f000n;
    const what = { srcIova: FROM + 3n * PAGE, length: 2n * PAGE, dstIova, account };
    expect(world.copy(what)).toBe('ENOMEM');
    expect([account.placedBytes, account.tablePages]).toEqual([0, 0]);
    expect(world.pool.usedCount).toBe(before);
    expect(world.unmap(0n, u64Max, world.target)).toBe(0n);
  });
});
