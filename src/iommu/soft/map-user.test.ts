// Rules of MAP, by the order of the checks.

import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { type MapRequest, u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import {
  attachOne,
  createIoasWorld,
  FIXED,
  type IoasWorld,
  PAGE,
  R,
  W,
} from '../testing/ioas-world.js';
import { faultNumber } from './device-iommu.js';

const VA = 0x7000_0000n;

/** 16 pages of a file from `VA` on. */
function setUp() {
  const world = createIoasWorld();
  register(world, VA, 16);
  const good = { flags: FIXED | R | W, ioasId: world.ioasId, userVa: VA, length: PAGE, iova: PAGE };
  const map = (change: Partial<MapRequest> = {}) =>
    errnoOf(() => world.iommufd.ioasMap({ ...good, ...change }));
  return { ...world, map };
}

function register(world: IoasWorld, address: bigint, pages: number, isWritable = true) {
  const bytes = new Uint8Array(pages * 4096);
  const fd = world.memory.create(8 * MiB);
  const mapping = { address, fd, offsetBytes: 4096, bytes, isWritable };
  return { fd, registration: world.userMemory.register(mapping) };
}

describe('MAP', () => {
  const all = 2n ** 64n;
  /** Each row breaks one more check from the end: the first wrong one decides. */
  test.each([
    ['flags before anything else', { flags: 8, iova: u64Max, ioasId: 99 }, 'EOPNOTSUPP'],
    ['iova U64_MAX', { flags: 0, iova: u64Max, ioasId: 99 }, 'EOVERFLOW'],
    ['iova U64_MAX, not fixed', { flags: R, iova: u64Max }, 'EOVERFLOW'],
    ['length U64_MAX', { length: u64Max, flags: 0 }, 'EOVERFLOW'],
    ['neither R nor W', { flags: FIXED, ioasId: 99 }, 'EINVAL'],
    ['no such IOAS', { ioasId: 99, userVa: u64Max, length: 2n }, 'ENOENT'],
    ['user_va + length before a length', { userVa: u64Max, length: 2n }, 'EOVERFLOW'],
    ['user_va may not end at 2^64', { userVa: all - PAGE }, 'EOVERFLOW'],
    ['it may end one byte before', { userVa: all - PAGE - 1n }, PAGE],
    ['length 0', { length: 0n, iova: u64Max - 1n }, 'EINVAL'],
    ['a length beyond any memory', { userVa: 0n, length: u64Max - PAGE + 1n }, 'EINVAL'],
    ['iova + length', { iova: all - PAGE + 1n }, 'EOVERFLOW'],
    ['bytes, without a domain', { iova: 3n, length: 5n, userVa: VA + 7n }, 3n],
    ['memory that is not there, without a domain', { userVa: 5n * PAGE }, PAGE],
  ] as [string, Partial<MapRequest>, unknown][])('%s', (_name, change, wanted) => {
    expect(setUp().map(change)).toBe(wanted);
  });

  test('with a domain: placement, then the offset of user_va in its page, then the memory', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    world.map();
    expect(world.map({ userVa: VA + 1n, length: PAGE + 1n })).toBe('EINVAL');
    expect(world.map({ userVa: VA + 1n })).toBe('EEXIST');
    expect(world.map({ userVa: 5n * PAGE + 1n, iova: 2n * PAGE })).toBe('EINVAL');
    expect(world.map({ userVa: 5n * PAGE, iova: 2n * PAGE })).toBe('EFAULT');
    expect(world.map({ userVa: VA + 15n * PAGE, length: 2n * PAGE, iova: 2n * PAGE })).toBe(
      'EFAULT',
    );
    expect(world.unmap(0n, u64Max)).toBe(PAGE);
    expect([world.extents.count, world.arena.rangeCount]).toEqual([0, 0]);
  });

  test('addresses that no process has are EFAULT for a device', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    for (const userVa of [1n << 47n, 1n << 53n, 1n << 63n]) {
      expect(world.map({ userVa })).toBe('EFAULT');
    }
  });

  test('the very last page is EOVERFLOW for a device: its end has no number', () => {
    const world = setUp();
    attachOne(world, world.ioasId, { pageBytes: 2048 });
    const lastPage = { userVa: 2n ** 64n - PAGE, length: 2048n };
    expect(world.map(lastPage)).toBe('EOVERFLOW');
    expect(world.map({ ...lastPage, userVa: lastPage.userVa - PAGE })).toBe('EFAULT');
  });

  test('the address decides where an automatic map may go', () => {
    const { map } = setUp();
    expect(map({ flags: R, length: BigInt(2 * MiB), userVa: 0x40_0000n })).toBe(0x20_0000n);
    expect(map({ flags: R, userVa: VA + 0x123n })).toBe(0x1123n);
    expect(map({ flags: R, length: 4n * PAGE, userVa: VA + 2n * PAGE })).toBe(0x4000n);
  });

  test('a device reaches what the addresses lead to, over several mappings of files', () => {
    const world = setUp();
    const second = register(world, VA + 16n * PAGE, 2);
    const { unit } = attachOne(world, world.ioasId);
    const { inode } = world.memory.identity(second.fd);
    world.map({ userVa: VA + 15n * PAGE, length: 3n * PAGE, iova: 0x1_0000n });
    const device = world.translator(unit);
    const pageAt = (iova: number) =>
      world.arena.pageAt(device.translate(undefined, iova, 'write'))!;
    expect(pageAt(0x1_0000).offsetBytes).toBe(16 * 4096);
    expect(pageAt(0x1_0000).inode).not.toBe(inode);
    expect(pageAt(0x1_1000)).toMatchObject({ inode, offsetBytes: 4096 });
    expect(pageAt(0x1_2000)).toMatchObject({ inode, offsetBytes: 2 * 4096 });
    expect(world.unmap(0n, u64Max)).toBe(3n * PAGE);
    expect(world.extents.count).toBe(0);
  });

  test('memory that may not be written is EFAULT for a device that may', () => {
    const world = setUp();
    register(world, 0x8000_0000n, 1, false);
    attachOne(world, world.ioasId);
    expect(world.map({ userVa: 0x8000_0000n })).toBe('EFAULT');
    expect(world.map({ userVa: 0x8000_0000n, flags: FIXED | R })).toBe(PAGE);
  });

  test('lazily: absent memory is EFAULT at the first domain, and found at a later try', () => {
    const world = setUp();
    world.map({ userVa: 0x9000_0000n });
    const unit = world.createUnit();
    const device = world.iommufd.bind(unit);
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EFAULT');
    const { registration } = register(world, 0x9000_0000n, 1);
    device.attach(world.ioasId);
    registration[Symbol.dispose]();
    // What is placed stays, without any address to it.
    expect(world.translator(unit).translate(undefined, 4096, 'write')).toBeGreaterThanOrEqual(0);
    device.detach();
    expect(world.extents.count).toBe(0);
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('EFAULT');
    expect(world.translator(unit).translate(undefined, 4096, 'write')).toBe(
      faultNumber('not attached'),
    );
  });

  test('a file behind an address that is too short, or no memory, is EFAULT, too', () => {
    const world = setUp();
    const { fd } = register(world, 0x8000_0000n, 4);
    attachOne(world, world.ioasId);
    world.memory.resize(fd, 2 * 4096);
    expect(world.map({ userVa: 0x8000_0000n })).toBe(PAGE);
    expect(world.map({ userVa: 0x8000_1000n, iova: 2n * PAGE })).toBe('EFAULT');
  });
});
