// What this iommufd does differently on purpose, where no other test shows it.

import { expect, test } from 'vitest';
import { OsError } from '../../base/errors.js';
import { F_SEAL_WRITE } from '../../os/memory-types.js';
import { u64Max } from '../requests.js';
import { bindOne, mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, createIoasWorld, FIXED, PAGE, R } from '../testing/ioas-world.js';
import { createMockTraits, mockDataType } from '../testing/mock-traits.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { SoftUnit } from './soft-unit.js';

test('A3 a replace that the hardware refuses leaves the reserved ranges', () => {
  let isRefusing = false;
  const onProgram = () => {
    if (isRefusing) throw new OsError('ENOMEM', 'attach');
  };
  const reserved = [{ start: 0x1_0000n, last: 0x1_ffffn }];
  const { iommufd, device, ioasId, hwpt } = bindOne(createSoftWorld(), { reserved, onProgram });
  const [one, other] = [hwpt(), hwpt()];
  device.attach(one);
  const before = iommufd.ioasIovaRanges(ioasId, 9);
  expect(before.rangeCount).toBe(2);
  isRefusing = true;
  expect(errnoOf(() => device.attach(other))).toBe('ENOMEM');
  expect(iommufd.ioasIovaRanges(ioasId, 9)).toEqual(before);
});

test('nested DMA is blocked', () => {
  const world = createSoftWorld();
  const { iommufd } = world;
  const unit = new SoftUnit({ traits: createMockTraits() });
  const device = iommufd.bind(unit);
  const ptId = iommufd.ioasAlloc();
  const start = 2 ** 24;
  mapOne(world, ptId, BigInt(start));
  const parent = iommufd.hwptAlloc({ flags: 1, devId: device.id, ptId });
  device.attach(parent);
  expect(sees(world, unit, start)).toBe('mapped');
  const nested = { flags: 0, devId: device.id, ptId: parent, dataType: mockDataType };
  device.attach(iommufd.hwptAlloc({ ...nested, data: new Uint8Array(4) }));
  expect(sees(world, unit, start)).toBe('not attached');
});

test('MAP_FILE for writing takes memory that the caller may write', () => {
  const world = createIoasWorld();
  const { memory, map, iommufd, ioasId } = world;
  const readOnly = memory.reopen(world.fd, 'read');
  const sealed = memory.create(4096, { seals: F_SEAL_WRITE });
  // Nobody looks before it is placed.
  expect(map({ fd: readOnly })).toBe(PAGE);
  const device = iommufd.bind(world.createUnit());
  expect(errnoOf(() => device.attach(ioasId))).toBe('EACCES');
  world.unmap(0n, u64Max);
  device.attach(ioasId);
  expect([map({ fd: readOnly }), map({ fd: sealed })]).toEqual(['EACCES', 'EPERM']);
  expect(map({ fd: readOnly, flags: FIXED | R })).toBe(PAGE);
  expect(map({ fd: sealed, flags: FIXED | R, iova: 2n * PAGE })).toBe(2n * PAGE);
});

test('MAP_FILE beyond 2^53 bytes of a file is EINVAL with a domain', () => {
  const world = createIoasWorld();
  const fd = world.memory.create(2 ** 53 + 2 ** 30);
  const end = 2n ** 53n;
  expect(world.map({ fd, start: end })).toBe(PAGE);
  world.unmap(0n, u64Max);
  attachOne(world, world.ioasId);
  expect(world.map({ fd, start: end - PAGE })).toBe(PAGE);
  expect(world.map({ fd, start: end, iova: 2n * PAGE })).toBe('EINVAL');
  expect(world.map({ fd, start: end - PAGE, length: 2n * PAGE, iova: 2n * PAGE })).toBe('EINVAL');
});

test('no table reaches above 2^48', () => {
  const world = createIoasWorld();
  const end = 2n ** 48n;
  expect(world.map({ iova: end })).toBe(end);
  const device = world.iommufd.bind(world.createUnit());
  expect(errnoOf(() => device.attach(world.ioasId))).toBe('EADDRINUSE');
  world.unmap(0n, u64Max);
  device.attach(world.ioasId);
  expect(world.map({ iova: end - PAGE })).toBe(end - PAGE);
  expect(world.map({ iova: end })).toBe('EINVAL');
  const aperture = { start: 0n, last: end };
  const far = world.iommufd.bind(world.createUnit({ aperture }));
  const request = { flags: 0, devId: far.id, ptId: world.ioasId };
  expect(() => world.iommufd.hwptAlloc(request)).toThrow('aperture');
});
