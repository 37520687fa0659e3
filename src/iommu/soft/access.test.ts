// Rules of software access (11.3, A10, 6d): copies, pins, and unmaps that wait for them.

import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { bindOne } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld } from '../testing/soft-world.js';

const FIXED = 1;
const W = 2;
const R = 4;
const page = 4096n;
const u64Max = 2n ** 64n - 1n;

function setUp(needsPins = true) {
  // The memory of the arena stays where it is as long as something is mapped.
  const world = bindOne(createSoftWorld());
  const { iommufd, ioasId } = world;
  world.device.attach(ioasId);
  const fd = world.memory.create(4 * MiB);
  const map = (iova: bigint, length: bigint, protection = R | W, start = 0n) =>
    iommufd.ioasMapFile({ flags: FIXED | protection, ioasId, fd, start, length, iova });
  const unmapped: [bigint, bigint][] = [];
  const onUnmap = (iova: bigint, length: bigint) => void unmapped.push([iova, length]);
  const access = iommufd.createAccess({ needsPins, onUnmap });
  const copy = (iova: bigint, data: Uint8Array, direction: 'read' | 'write') =>
    errnoOf(() => access.copy(iova, data, direction));
  const pin = (iova: bigint, length: bigint, direction: 'read' | 'write' = 'read') =>
    errnoOf(() => access.pin(iova, length, direction));
  const unmap = (iova: bigint, length: bigint) =>
    errnoOf(() => iommufd.ioasUnmap({ ioasId, iova, length }));
  return { ...world, fd, map, access, copy, pin, unmap, unmapped };
}

describe('attach', () => {
  test('A10 an IOAS alone; twice is EINVAL; replace needs an attach; a user of it', () => {
    const { access, iommufd, ioasId, device, hwpt } = setUp();
    const second = iommufd.ioasAlloc();
    expect(errnoOf(() => access.replace(ioasId))).toBe('ENOENT');
    for (const id of [99, device.id, hwpt()]) {
      expect(errnoOf(() => access.attach(id))).toBe('ENOENT');
    }
    access.attach(second);
    expect(errnoOf(() => access.attach(ioasId))).toBe('EINVAL');
    expect(errnoOf(() => access.replace(99))).toBe('ENOENT');
    expect(errnoOf(() => iommufd.destroy(second))).toBe('EBUSY');
    expect(errnoOf(() => iommufd.destroy(access.id))).toBe('EBUSY');
    access.replace(ioasId);
    iommufd.destroy(second);
    access.close();
    access.close();
    expect(errnoOf(() => iommufd.destroy(access.id))).toBe('ENOENT');
  });

  test('5.5 one that pins raises the alignment to a page; one that copies does not', () => {
    for (const needsPins of [true, false]) {
      const { access, iommufd } = setUp(needsPins);
      const ioasId = iommufd.ioasAlloc();
      access.attach(ioasId);
      const { alignment } = iommufd.ioasIovaRanges(ioasId, 9);
      expect(alignment).toBe(needsPins ? page : 1n);
      access.detach();
      expect(iommufd.ioasIovaRanges(ioasId, 9).alignment).toBe(1n);
    }
  });

  test('5.5 an area that does not fit is EADDRINUSE, and the old attach stays', () => {
    const { access, iommufd, ioasId, memory, map, copy } = setUp();
    const second = iommufd.ioasAlloc();
    const fd = memory.create(4096);
    const request = { flags: FIXED | R, ioasId: second, fd, start: 0n, length: 5n, iova: 0n };
    iommufd.ioasMapFile(request);
    map(0n, page);
    access.attach(ioasId);
    expect(errnoOf(() => access.replace(second))).toBe('EADDRINUSE');
    expect(copy(0n, new Uint8Array(1), 'read')).toBe(undefined);
  });
});

describe('copies', () => {
  test('11.3 every check; bytes before a hole have been copied', () => {
    const { access, copy, map, ioasId } = setUp();
    const one = new Uint8Array(1);
    expect(copy(0n, new Uint8Array(), 'read')).toBe('EINVAL');
    expect(copy(u64Max, new Uint8Array(2), 'read')).toBe('EOVERFLOW');
    expect(copy(0n, one, 'read')).toBe('ENOENT');
    access.attach(ioasId);
    expect(copy(0n, one, 'read')).toBe('ENOENT');
    map(0n, page);
    map(page, page, R, page);
    map(2n * page, page, W, 2n * page);
    expect(copy(page, one, 'write')).toBe('EPERM');
    expect(copy(2n * page, one, 'read')).toBe('EPERM');
    const given = Uint8Array.from({ length: 100 }, (_, index) => index + 1);
    expect(copy(page - 50n, given, 'write')).toBe('EPERM');
    const seen = new Uint8Array(100);
    expect(copy(page - 50n, seen, 'read')).toBe(undefined);
    expect([...seen.subarray(0, 50)]).toEqual([...given.subarray(0, 50)]);
    expect([...seen.subarray(50)]).toEqual(Array(50).fill(0));
    const across = new Uint8Array(4096 + 4000).fill(9);
    expect(copy(2n * page, across, 'write')).toBe('ENOENT');
  });
});

describe('pins', () => {
  test('11.3 whole pages of mapped, permitted memory; all or nothing', () => {
    const { access, pin, map, unmap, ioasId, iommufd } = setUp();
    access.attach(ioasId);
    map(0n, page);
    map(page, page, W, page);
    expect([pin(0n, 0n), pin(u64Max, 2n)]).toEqual(['EINVAL', 'EOVERFLOW']);
    expect(pin(1n, 8n)).toBe('EINVAL');
    expect(pin(0n, 2n * page)).toBe('EPERM');
    expect(pin(page, 2n * page, 'write')).toBe('ENOENT');
    // Nothing stayed pinned.
    expect(unmap(0n, 2n * page)).toBe(2n * page);
    const other = iommufd.createAccess({ needsPins: false, onUnmap() {} });
    other.attach(ioasId);
    map(0n, page);
    expect(errnoOf(() => other.pin(0n, page, 'read'))).toBe('EINVAL');
  });

  test('6d an unmap asks, and waits for nobody: EDEADLK, then no new use', () => {
    const { access, pin, copy, map, unmap, unmapped, ioasId } = setUp();
    access.attach(ioasId);
    map(0n, page);
    expect([pin(0n, page), pin(0n, 8n)]).toEqual([undefined, undefined]);
    expect(unmap(0n, page)).toBe('EDEADLK');
    expect([unmapped.length, unmapped[0]]).toEqual([101, [0n, page]]);
    expect([pin(0n, page), copy(0n, new Uint8Array(1), 'read')]).toEqual(['EINVAL', 'EINVAL']);
    access.unpin(0n, page);
    expect(unmap(0n, page)).toBe('EDEADLK');
    access.unpin(0n, 8n);
    expect(unmap(0n, page)).toBe(page);
  });

  test('6d who lets go when asked does not stand in the way', () => {
    const { iommufd, map, unmap, ioasId } = setUp();
    map(0n, page);
    const access = iommufd.createAccess({
      needsPins: true,
      onUnmap: (iova, length) => access.unpin(iova, length === u64Max ? page : length),
    });
    access.attach(ioasId);
    access.pin(0n, page, 'write');
    expect(unmap(0n, page)).toBe(page);
    map(0n, page);
    access.pin(0n, page, 'write');
    iommufd[Symbol.dispose]();
    expect(errnoOf(() => iommufd.destroy(ioasId))).toBe('ENOENT');
  });

  test('DMA of a device that leaves does not take pinned memory along', () => {
    const { access, pin, copy, map, device, extents, ioasId } = setUp();
    map(0n, page);
    access.attach(ioasId);
    expect(pin(0n, page)).toBe(undefined);
    device.detach();
    expect([extents.count, copy(0n, new Uint8Array(8), 'read')]).toEqual([1, undefined]);
  });
});
