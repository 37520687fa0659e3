// A window as memory to map: what may be mapped, and what is left of it once it is revoked.

import { beforeEach, describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import {
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../uapi/iommufd.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld, type SoftWorld } from '../testing/soft-world.js';
import type { DmaAccount, RevocableWindow } from '../types.js';
import { type DeviceIommu, faultReasonOf } from './device-iommu.js';

const R = IOMMU_IOAS_MAP_READABLE;
const W = IOMMU_IOAS_MAP_WRITEABLE;
const iova = 0x40_0000;
const place = { arenaOffsetBytes: 32 * MiB, lengthBytes: 8192, isWritable: true };
const u64Max = 2n ** 64n - 1n;

let world: SoftWorld;
let ioasId: number;
let device: DeviceIommu;
let deviceId: number;
let window: RevocableWindow;
let account: DmaAccount;

beforeEach(() => {
  world = createSoftWorld();
  const { iommufd } = world;
  const unit = world.createUnit();
  const bound = iommufd.bind(unit);
  deviceId = bound.id;
  device = world.translator(unit);
  ioasId = iommufd.ioasAlloc();
  bound.attach(ioasId);
  window = iommufd.exportWindow(place);
  account = { placedBytesMax: 0, tablePagesMax: 16, placedBytes: 0, tablePages: 0 };
});

function map(change: { flags?: number; start?: number; length?: number; iova?: number } = {}) {
  const request = { flags: R | W, ioasId, window, start: 0, length: 8192, iova, account };
  world.iommufd.ioasMapWindow({ ...request, ...change });
}

function probe(at: number, access: 'read' | 'write' = 'write'): number | string {
  const found = device.translate(undefined, at, access);
  return found < 0 ? faultReasonOf(found) : found;
}

describe('a window that is mapped', () => {
  test('is where it is in the arena; nothing is placed or paid but table pages', () => {
    map();
    expect(probe(iova + 4097)).toBe(32 * MiB + 4097);
    expect(account.placedBytes).toBe(0);
    expect(account.tablePages).toBeGreaterThan(0);
    expect(world.extents.placedBytes).toBe(0);
  });

  test('may be mapped in part, again and again', () => {
    map({ start: 4096, length: 4096 });
    map({ start: 4096, length: 4096, iova: iova + 8192, flags: R });
    expect([probe(iova), probe(iova + 8192, 'read')]).toEqual([32 * MiB + 4096, 32 * MiB + 4096]);
    expect(probe(iova + 8192)).toBe('no permission');
  });

  test.each([
    ['past its end', { start: 4096 }, 'EINVAL'],
    ['behind its end', { start: 8192, length: 4096 }, 'EINVAL'],
    ['to no length', { length: 0 }, 'EINVAL'],
    ['with neither read nor write', { flags: 0 }, 'EINVAL'],
    ['with unknown flags', { flags: R | 8 }, 'EOPNOTSUPP'],
    ['off the page', { start: 2048, length: 4096 }, 'EINVAL'],
    ['with half a page', { length: 2048 }, 'EINVAL'],
    ['at an odd address', { iova: iova + 512 }, 'EINVAL'],
    ['outside of the aperture', { iova: 2 ** 48 }, 'EINVAL'],
  ])('is not mapped %s', (_, change, errno) => {
    expect(errnoOf(() => map(change))).toBe(errno);
    expect(probe(iova)).toBe('not mapped');
  });

  test('is mapped over nothing, and only by the iommufd that exported it', () => {
    map();
    expect(errnoOf(() => map({ iova: iova + 4096 }))).toBe('EEXIST');
    const request = { flags: R, start: 0, length: 4096, iova: 0, account };
    const other = world.otherIommufd();
    const ioas = other.ioasAlloc();
    expect(errnoOf(() => other.ioasMapWindow({ ...request, ioasId: ioas, window }))).toBe('EINVAL');
    expect(errnoOf(() => world.iommufd.ioasMapWindow({ ...request, ioasId: 99, window }))).toBe(
      'ENOENT',
    );
  });

  test('is not written where devices may only read it', () => {
    window = world.iommufd.exportWindow({ ...place, isWritable: false });
    expect(errnoOf(() => map())).toBe('EPERM');
    expect(errnoOf(() => map({ flags: W }))).toBe('EPERM');
    map({ flags: R });
    expect(probe(iova, 'read')).toBe(32 * MiB);
  });
});

describe('a window that was revoked', () => {
  test('leads nowhere, and says so; its addresses stay taken until they are unmapped', async () => {
    map();
    const neighbour = iova + 8192;
    const other = world.iommufd.exportWindow({ ...place, arenaOffsetBytes: 48 * MiB });
    map({ iova: neighbour });
    await world.iommufd.exportWindow(place).revoke();
    expect(probe(iova)).toBe(32 * MiB);
    const revoked = window.revoke();
    // At once: what is acknowledged later is what a device still has in hand.
    expect([probe(iova), probe(iova + 4096, 'read'), probe(neighbour)]).toEqual(
      Array.from({ length: 3 }, () => 'revoked'),
    );
    await revoked;
    await window.released;
    expect(errnoOf(() => map({ iova: 0 }))).toBe('ENODEV');
    window = other;
    expect(errnoOf(() => map())).toBe('EEXIST');
    const { iommufd } = world;
    expect(errnoOf(() => iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: 4096n }))).toBe(
      'ENOENT',
    );
    expect(iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: 8192n })).toBe(8192n);
    expect(probe(iova)).toBe('not mapped');
    map();
    expect(probe(iova)).toBe(48 * MiB);
    expect(probe(neighbour)).toBe('revoked');
    iommufd.ioasUnmapLow(ioasId, neighbour, 8192);
    iommufd.ioasUnmapLow(ioasId, iova, 8192);
    expect(account.tablePages).toBe(0);
  });

  test('counts when everything is unmapped', async () => {
    map();
    await window.revoke();
    expect(world.iommufd.ioasUnmap({ ioasId, iova: 0n, length: u64Max })).toBe(8192n);
    expect(account.tablePages).toBe(0);
  });

  test('is gone in every address space, also one that comes later or had no table', async () => {
    map();
    const { iommufd } = world;
    const lazy = iommufd.ioasAlloc();
    const request = { flags: R | W, window, start: 0, length: 8192, iova, account: undefined };
    iommufd.ioasMapWindow({ ...request, ioasId: lazy });
    const pasid = iommufd.hwptAlloc({ flags: IOMMU_HWPT_ALLOC_PASID, devId: deviceId, ptId: lazy });
    const unit = world.createUnit();
    iommufd.bind(unit).attach(pasid, 3);
    const other = world.translator(unit);
    expect(other.translate(3, iova, 'read')).toBe(32 * MiB);
    await window.revoke();
    expect(faultReasonOf(other.translate(3, iova, 'read'))).toBe('revoked');
    const late = world.createUnit();
    iommufd.bind(late).attach(lazy);
    expect(faultReasonOf(world.translator(late).translate(undefined, iova, 'read'))).toBe(
      'revoked',
    );
  });

  test('is gone in copies of it, also in those that are made later', async () => {
    map();
    const { iommufd } = world;
    const copy = (dst: number): bigint =>
      iommufd.ioasCopy({
        flags: R | W | IOMMU_IOAS_MAP_FIXED_IOVA,
        srcIoasId: ioasId,
        dstIoasId: ioasId,
        srcIova: BigInt(iova) + 4096n,
        length: 4096n,
        dstIova: BigInt(dst),
      });
    copy(0x1000);
    expect(probe(0x1000)).toBe(32 * MiB + 4096);
    iommufd.ioasUnmapLow(ioasId, iova, 8192);
    expect(probe(0x1000)).toBe(32 * MiB + 4096);
    map();
    await window.revoke();
    copy(0x3000);
    expect([probe(iova), probe(0x1000), probe(0x3000)]).toEqual(['revoked', 'revoked', 'revoked']);
    expect(iommufd.ioasUnmap({ ioasId, iova: 0n, length: u64Max })).toBe(16_384n);
  });

  test('is released when the device has acknowledged, and not before', async () => {
    map();
    device.resume();
    let released = false;
    void window.released.then(() => {
      released = true;
    });
    const revoked = window.revoke();
    await new Promise((resolve) => setImmediate(resolve));
    expect(released).toBe(false);
    device.park();
    await revoked;
    await window.released;
    expect(released).toBe(true);
  });

  test('is not released before what was unmapped a moment ago is acknowledged', async () => {
    map();
    device.resume();
    world.iommufd.ioasUnmapLow(ioasId, iova, 8192);
    let released = false;
    const revoked = window.revoke().then(() => {
      released = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(released).toBe(false);
    device.park();
    await revoked;
  });

  test('costs nothing when nobody ever mapped it', async () => {
    device.resume();
    await window.revoke();
    await window.released;
  });

  test('faults as not mapped where no table page is left to say more', async () => {
    map();
    const spare: number[] = [];
    const take = (): void => {
      for (;;) spare.push(world.pool.allocate(undefined));
    };
    expect(take).toThrow();
    await window.revoke();
    expect(probe(iova)).toBe('not mapped');
    expect(errnoOf(() => map())).toBe('ENODEV');
    expect(world.iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: 8192n })).toBe(8192n);
  });
});

test('a map that finds no table page leaves nothing', async () => {
  account = { ...account, tablePagesMax: 0 };
  expect(errnoOf(() => map())).toBe('ENOMEM');
  expect(probe(iova)).toBe('not mapped');
  await window.revoke();
  expect(probe(iova)).toBe('not mapped');
});
