// Rules of MAP_FILE, by their tags, and how long memory stays placed.

import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { type MapFileRequest, u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, FIXED, PAGE, R, createIoasWorld as setUp } from '../testing/ioas-world.js';
import { faultNumber } from './device-iommu.js';

describe('MAP_FILE', () => {
  const all = 2n ** 64n;
  /** Each row breaks one more check from the end: the first wrong one decides. */
  test.each([
    ['1 flags', { flags: 8, iova: u64Max, ioasId: 99 }, 'EOPNOTSUPP'],
    ['2 iova U64_MAX', { flags: 0, iova: u64Max, ioasId: 99 }, 'EOVERFLOW'],
    ['2 iova U64_MAX, not fixed', { flags: R, iova: u64Max }, 'EOVERFLOW'],
    ['2 length U64_MAX', { length: u64Max, flags: 0 }, 'EOVERFLOW'],
    ['3 neither R nor W', { flags: FIXED, ioasId: 99 }, 'EINVAL'],
    ['4 no such IOAS', { ioasId: 99, length: 0n }, 'ENOENT'],
    ['5 length 0', { length: 0n, start: u64Max }, 'EINVAL'],
    ['6 start + length', { start: all - PAGE + 1n }, 'EOVERFLOW'],
    ['6 ends exactly at 2^64', { start: all - PAGE }, PAGE],
    ['8b iova + length', { iova: all - PAGE + 1n }, 'EOVERFLOW'],
    ['8b iova ends exactly at 2^64', { iova: all - PAGE }, all - PAGE],
    ['IOVA 0 is legal', { iova: 0n }, 0n],
    ['bytes, without a domain', { iova: 3n, length: 5n, start: 7n }, 3n],
    ['7b a length beyond any memory', { iova: 0n, length: u64Max - PAGE + 1n }, 'EINVAL'],
    ['7b before 8', { iova: u64Max - 1n, length: u64Max - PAGE + 1n }, 'EINVAL'],
    ['8 the longest', { iova: 0n, length: u64Max - PAGE, start: 1n }, 0n],
    ['8 more pages than there are', { iova: 0n, length: u64Max - PAGE, start: 2n }, 'EOVERFLOW'],
    ['2^47', { iova: 2n ** 47n }, 2n ** 47n],
    ['2^48, without a domain', { iova: 2n ** 48n }, 2n ** 48n],
  ] as [string, Partial<MapFileRequest>, unknown][])('%s', (_name, change, wanted) => {
    expect(setUp().map(change)).toBe(wanted);
  });

  test('7 a closed descriptor is EBADF, after 6 and before 8', () => {
    const { memory, map } = setUp();
    const fd = memory.create(4096);
    fd.close();
    expect(map({ fd, start: u64Max })).toBe('EOVERFLOW');
    map();
    expect(map({ fd })).toBe('EBADF');
  });

  test('5.4 alignment, then overflow, then reserved, then areas', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    world.map();
    const { map } = world;
    expect(map({ length: 1n, iova: PAGE })).toBe('EINVAL');
    expect(map({ iova: PAGE + 1n })).toBe('EINVAL');
    expect(map({ iova: u64Max - PAGE + 1n, length: 2n * PAGE })).toBe('EOVERFLOW');
    expect(map({ iova: 0n, length: 2n ** 49n })).toBe('EINVAL');
    expect(map({ iova: 0n, length: 2n * PAGE })).toBe('EEXIST');
    expect(map({ iova: 2n * PAGE, start: 1n })).toBe('EINVAL');
    // The page offset counts after the area check.
    expect(map({ start: 1n })).toBe('EEXIST');
  });

  test('9 with a domain: no memfd, or past its end, is EINVAL, and leaves nothing', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    const tables = world.pool.usedCount;
    const foreign = world.memory.create(MiB, { isShmem: false });
    expect(world.map({ fd: foreign })).toBe('EINVAL');
    expect(world.map({ start: BigInt(8 * MiB), length: PAGE })).toBe('EINVAL');
    expect(world.map({ start: 2n ** 63n, length: PAGE })).toBe('EINVAL');
    expect([world.pool.usedCount, world.extents.count]).toEqual([tables, 0]);
    expect(world.unmap(0n, u64Max)).toBe(0n);
  });

  test('9 without a domain any file and range is taken; the attach fails, A6', () => {
    const world = setUp();
    expect(world.map({ start: BigInt(8 * MiB) })).toBe(PAGE);
    const device = world.iommufd.bind(world.createUnit());
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EINVAL');
    expect([world.pool.usedCount, world.extents.count]).toEqual([0, 0]);
    expect(world.unmap(PAGE, PAGE)).toBe(PAGE);
    expect(errnoOf(() => device.attach(world.ioasId))).toBeTypeOf('number');
  });

  test('a lazy area keeps its file, of which it takes one duplicate for all its areas', () => {
    const world = setUp();
    world.map();
    world.map({ iova: 2n * PAGE });
    const { inode } = world.memory.identity(world.fd);
    world.fd.close();
    expect(world.memory.openCount).toBe(1);
    const { unit } = attachOne(world, world.ioasId);
    const offset = world.translator(unit).translate(undefined, 4096, 'write');
    expect(world.arena.pageAt(offset)).toMatchObject({ inode, offsetBytes: 0 });
    expect(world.unmap(PAGE, PAGE)).toBe(PAGE);
    expect(world.memory.openCount).toBe(1);
    expect(world.unmap(0n, u64Max)).toBe(PAGE);
    expect(world.memory.openCount).toBe(0);
  });

  test('memory is given up with the last domain, and found again by the next', () => {
    const world = setUp();
    world.map();
    const { device } = attachOne(world, world.ioasId);
    expect(world.extents.count).toBe(1);
    device.detach();
    expect(world.extents.count).toBe(0);
    world.memory.resize(world.fd, 0);
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EINVAL');
    world.memory.resize(world.fd, 4096);
    device.attach(world.ioasId);
    expect(world.extents.count).toBe(1);
  });

  test('what was mapped with a domain has no file to find it by, and stays placed', () => {
    const world = setUp();
    const { device } = attachOne(world, world.ioasId);
    world.map();
    expect(world.memory.openCount).toBe(1);
    device.detach();
    world.memory.resize(world.fd, 0);
    expect(world.extents.count).toBe(1);
    device.attach(world.ioasId);
    expect(world.unmap(0n, u64Max)).toBe(PAGE);
    expect(world.extents.count).toBe(0);
  });

  test('keepsFiles: what was mapped with a domain is given up and found again, too', () => {
    const world = setUp({ keepsFiles: true });
    const { device } = attachOne(world, world.ioasId);
    world.map();
    expect(world.memory.openCount).toBe(2);
    device.detach();
    expect(world.extents.count).toBe(0);
    world.memory.resize(world.fd, 0);
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EINVAL');
    world.iommufd.destroy(world.ioasId);
    expect(world.memory.openCount).toBe(1);
  });

  test('9 ENOMEM when the memory limit of the account is reached', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    const account = { placedBytesMax: 0, tablePagesMax: 9, placedBytes: 0, tablePages: 0 };
    expect(world.map({ account })).toBe('ENOMEM');
    expect(account.tablePages).toBe(0);
  });

  test('10 all or nothing over several domains', () => {
    const world = setUp();
    const { device, unit } = attachOne(world, world.ioasId);
    world.iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId: world.ioasId });
    // Two domains need five pages each for this; the account pays four of them.
    const account = { placedBytesMax: 2 ** 30, tablePagesMax: 3, placedBytes: 0, tablePages: 0 };
    const before = world.pool.usedCount;
    expect(world.map({ account, iova: 2n ** 40n })).toBe('ENOMEM');
    expect([world.pool.usedCount, account.tablePages, account.placedBytes]).toEqual([before, 0, 0]);
    const found = world.translator(unit).translate(undefined, 2 ** 40, 'read');
    expect(found).toBe(faultNumber('not mapped'));
    expect(world.map({ iova: 2n ** 40n })).toBe(2n ** 40n);
  });

  test('a pool without table pages is ENOMEM, and serves again after an unmap', () => {
    const world = setUp({}, 7);
    attachOne(world, world.ioasId);
    const account = { placedBytesMax: 2 ** 30, tablePagesMax: 99, placedBytes: 0, tablePages: 0 };
    const empty = world.pool.usedCount;
    // Each is alone in its 512 GiB: three nodes. Node 0 and the root leave five.
    expect(world.map({ account, iova: 0n })).toBe(0n);
    const one = [world.pool.usedCount, account.tablePages, account.placedBytes];
    expect(world.map({ account, iova: 2n ** 40n })).toBe('ENOMEM');
    expect([world.pool.usedCount, account.tablePages, account.placedBytes]).toEqual(one);
    world.iommufd.ioasUnmap({ ioasId: world.ioasId, iova: 0n, length: u64Max });
    expect([world.pool.usedCount, account.tablePages, account.placedBytes]).toEqual([empty, 0, 0]);
    expect(world.map({ account, iova: 2n ** 40n })).toBe(2n ** 40n);
  });
});
