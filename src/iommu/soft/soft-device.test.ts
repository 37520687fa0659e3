// Rules of bind, attach, replace and detach, and of HWPT_ALLOC, by their tags.

import { describe, expect, test } from 'vitest';
import { bindOne, mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { SoftGroup } from './group.js';

const R = 4;
const PASID = 8;

const setUp = (options: Parameters<typeof bindOne>[1] = {}) => bindOne(createSoftWorld(), options);

describe('bind', () => {
  test('8.1 twice is EINVAL; again after close; another context is EPERM', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const unit = world.createUnit({ group });
    const device = world.iommufd.bind(unit);
    expect(errnoOf(() => world.iommufd.bind(unit))).toBe('EINVAL');
    const other = world.otherIommufd();
    const neighbour = world.createUnit({ group });
    expect(errnoOf(() => other.bind(neighbour))).toBe('EPERM');
    device.close();
    device.close();
    expect(other.bind(unit).id).toBe(1);
  });

  test('DMA is blocked until attach, and after close', () => {
    const world = setUp();
    mapOne(world, world.ioasId);
    expect(sees(world, world.unit)).toBe('not attached');
    world.device.attach(world.ioasId);
    expect(sees(world, world.unit)).toBe('mapped');
    world.device.close();
    expect(sees(world, world.unit)).toBe('not attached');
    world.iommufd.destroy(world.ioasId);
    expect([world.pool.usedCount, world.extents.count]).toEqual([0, 0]);
  });

  test('P9 close detaches every PASID', () => {
    const world = setUp();
    const hwptId = world.hwpt(PASID);
    world.device.attach(hwptId, 3);
    world.device.attach(hwptId);
    world.device.close();
    expect(sees(world, world.unit, 0, 3)).toBe('not attached');
    world.iommufd.destroy(hwptId);
  });
});

describe('attach', () => {
  test('8.2 unknown is ENOENT, a device EINVAL', () => {
    const { device } = setUp();
    expect(errnoOf(() => device.attach(99))).toBe('ENOENT');
    expect(errnoOf(() => device.attach(0, 1))).toBe('ENOENT');
    expect(errnoOf(() => device.attach(device.id))).toBe('EINVAL');
  });

  test('A1 a second attach replaces; a failed one keeps the old state', () => {
    const world = setUp();
    mapOne(world, world.ioasId);
    const second = world.iommufd.ioasAlloc();
    mapOne(world, second, 0x5000n);
    const first = world.device.attach(world.ioasId);
    expect(world.device.attach(world.ioasId)).toBe(first);
    world.device.attach(second);
    // A7: the first auto HWPT went with its device.
    expect(errnoOf(() => world.iommufd.destroy(first))).toBe('ENOENT');
    expect([sees(world, world.unit), sees(world, world.unit, 0x5000)]).toEqual([
      'not mapped',
      'mapped',
    ]);
    const broken = world.iommufd.ioasAlloc();
    const fd = world.memory.create(4096, { isShmem: false });
    const map = { flags: R, ioasId: broken, fd, start: 0n, length: 4096n, iova: 0n };
    world.iommufd.ioasMapFile(map);
    expect(errnoOf(() => world.device.attach(broken))).toBe('EINVAL');
    expect(sees(world, world.unit, 0x5000)).toBe('mapped');
    world.iommufd.destroy(world.ioasId);
  });

  test('A4 auto HWPTs are shared, manual ones never picked; A7 each lives as it should', () => {
    const world = setUp();
    const manual = world.hwpt();
    const auto = world.device.attach(world.ioasId);
    expect(auto).not.toBe(manual);
    const other = world.iommufd.bind(world.createUnit());
    expect(other.attach(world.ioasId)).toBe(auto);
    const odd = world.iommufd.bind(
      world.createUnit({ aperture: { start: 0n, last: 2n ** 40n - 1n } }),
    );
    // A12: not fit for this one, so that it gets one of its own.
    expect(errnoOf(() => odd.attach(manual))).toBe('EINVAL');
    expect(odd.attach(world.ioasId)).not.toBe(auto);
    world.device.detach();
    expect(errnoOf(() => world.iommufd.destroy(auto))).toBe('EBUSY');
    other.detach();
    expect(errnoOf(() => world.iommufd.destroy(auto))).toBe('ENOENT');
    world.iommufd.destroy(manual);
  });

  test('A5 what is reserved hits an area or an allowed range: EADDRINUSE, nothing changed', () => {
    const reserved = [{ start: 0x10_0000n, last: 0x10_0fffn }];
    const world = setUp({ reserved });
    mapOne(world, world.ioasId, 0x10_0000n);
    const before = world.iommufd.ioasIovaRanges(world.ioasId, 9);
    expect(errnoOf(() => world.device.attach(world.ioasId))).toBe('EADDRINUSE');
    expect(world.iommufd.ioasIovaRanges(world.ioasId, 9)).toEqual(before);
    expect(sees(world, world.unit)).toBe('not attached');
    const second = world.iommufd.ioasAlloc();
    world.iommufd.ioasAllowIovas(second, [{ start: 0n, last: 0x10_0000n }]);
    expect(errnoOf(() => world.device.attach(second))).toBe('EADDRINUSE');
    // The aperture as well.
    world.iommufd.ioasAllowIovas(second, [{ start: 2n ** 48n - 1n, last: 2n ** 48n }]);
    expect(errnoOf(() => world.device.attach(second))).toBe('EADDRINUSE');
    expect([world.pool.usedCount, world.extents.count]).toEqual([0, 0]);
  });

  test('A5 A9 reservations come with the attach and go with the detach', () => {
    const world = setUp({ reserved: [{ start: 0x10_0000n, last: 0x10_0fffn }] });
    world.device.attach(world.ioasId);
    expect(world.iommufd.ioasIovaRanges(world.ioasId, 9).rangeCount).toBe(2);
    const second = world.iommufd.ioasAlloc();
    world.device.attach(second);
    expect(world.iommufd.ioasIovaRanges(world.ioasId, 9).rangeCount).toBe(1);
    expect(world.iommufd.ioasIovaRanges(second, 9).rangeCount).toBe(2);
    world.device.detach();
    expect(world.iommufd.ioasIovaRanges(second, 9)).toMatchObject({
      ranges: [{ start: 0n, last: 2n ** 64n - 1n }],
      alignment: 1n,
    });
  });

  test('A6 5.5 an area that does not fit pages is EADDRINUSE', () => {
    const world = setUp();
    mapOne(world, world.ioasId, 0n, 5n);
    expect(errnoOf(() => world.device.attach(world.ioasId))).toBe('EADDRINUSE');
    expect(errnoOf(() => world.hwpt())).toBe('EADDRINUSE');
    expect(world.iommufd.ioasIovaRanges(world.ioasId, 9).alignment).toBe(1n);
  });

  test('A9 detach without attach succeeds', () => {
    const { device } = setUp();
    device.detach();
    device.detach(5);
    device.detach(0);
    device.detach(2 ** 40);
  });
});

describe('PASIDs', () => {
  test('P1 only an HWPT made for it; an IOAS is EINVAL', () => {
    const { device, hwpt, ioasId } = setUp();
    expect(errnoOf(() => device.attach(hwpt(), 1))).toBe('EINVAL');
    expect(errnoOf(() => device.attach(ioasId, 1))).toBe('EINVAL');
    const fit = hwpt(PASID);
    expect(device.attach(fit, 1)).toBe(fit);
  });

  test('P2 the requester id must use one that is fit as well, both ways round', () => {
    const first = setUp();
    const fit = first.hwpt(PASID);
    first.device.attach(first.ioasId);
    expect(errnoOf(() => first.device.attach(fit, 1))).toBe('EINVAL');
    first.device.attach(fit);
    first.device.attach(fit, 1);
    expect(errnoOf(() => first.device.attach(first.hwpt()))).toBe('EINVAL');
    expect(errnoOf(() => first.device.attach(first.ioasId))).toBe('EINVAL');
    first.device.detach(1);
    first.device.attach(first.ioasId);
  });

  test('P3 P10 0 and what is too wide are EINVAL', () => {
    const { device, hwpt } = setUp({ pasidBits: 4 });
    const fit = hwpt(PASID);
    for (const pasid of [0, 16, -1, 0.5]) {
      expect(errnoOf(() => device.attach(fit, pasid))).toBe('EINVAL');
    }
    expect(device.attach(fit, 15)).toBe(fit);
  });

  test('P3 a device without PASIDs is EOPNOTSUPP', () => {
    const world = setUp({ pasidBits: 0 });
    expect(errnoOf(() => world.hwpt(PASID))).toBe('EOPNOTSUPP');
    const wide = world.iommufd.bind(world.createUnit());
    const request = { flags: PASID, devId: wide.id, ptId: world.ioasId };
    const fit = world.iommufd.hwptAlloc(request);
    expect(errnoOf(() => world.device.attach(fit, 1))).toBe('EOPNOTSUPP');
    expect(errnoOf(() => world.device.attach(world.hwpt(), 1))).toBe('EINVAL');
    expect(world.device.attach(fit)).toBe(fit);
  });

  test('P4 P5 replace and detach touch one PASID alone', () => {
    const world = setUp();
    mapOne(world, world.ioasId);
    const second = world.iommufd.ioasAlloc();
    const [a, b] = [world.hwpt(PASID), world.hwpt(PASID, second)];
    world.device.attach(a);
    world.device.attach(a, 1);
    world.device.attach(a, 2);
    world.device.attach(b, 1);
    const all = () => [undefined, 1, 2].map((pasid) => sees(world, world.unit, 0, pasid));
    expect(all()).toEqual(['mapped', 'not mapped', 'mapped']);
    world.device.detach(1);
    world.device.detach(1);
    expect(all()).toEqual(['mapped', 'not attached', 'mapped']);
    expect(errnoOf(() => world.iommufd.destroy(a))).toBe('EBUSY');
    world.iommufd.destroy(b);
    world.device.detach();
    expect(all()).toEqual(['not attached', 'not attached', 'mapped']);
  });

  test('P7 a PASID attach reserves nothing but the aperture', () => {
    const world = setUp({ reserved: [{ start: 0n, last: 0xfffn }] });
    const fit = world.hwpt(PASID);
    world.device.attach(fit, 1);
    mapOne(world, world.ioasId, 0n);
    expect(sees(world, world.unit, 0, 1)).toBe('mapped');
    expect(errnoOf(() => world.device.attach(fit))).toBe('EADDRINUSE');
  });
});

describe('HWPT_ALLOC', () => {
  test('9 device ENOENT, then page table EINVAL, then flags EOPNOTSUPP', () => {
    const { iommufd, device, ioasId, hwpt } = setUp();
    const ask = (flags: number, devId: number, ptId: number) =>
      errnoOf(() => iommufd.hwptAlloc({ flags, devId, ptId }));
    expect(ask(64, 99, 99)).toBe('ENOENT');
    expect(ask(64, ioasId, ioasId)).toBe('ENOENT');
    expect(ask(64, device.id, 99)).toBe('EINVAL');
    expect(ask(64, device.id, device.id)).toBe('EINVAL');
    expect(ask(64, device.id, ioasId)).toBe('EOPNOTSUPP');
    expect(ask(0, device.id, hwpt())).toBe('EOPNOTSUPP');
  });

  test('9 it pins at once, and every HWPT of an IOAS sees the same areas', () => {
    const world = setUp();
    mapOne(world, world.ioasId);
    const manual = world.hwpt();
    expect(world.extents.count).toBe(1);
    mapOne(world, world.ioasId, 0x5000n);
    world.device.attach(world.ioasId);
    expect(sees(world, world.unit, 0x5000)).toBe('mapped');
    world.device.attach(manual);
    expect([0, 0x5000].map((iova) => sees(world, world.unit, iova))).toEqual(['mapped', 'mapped']);
    world.iommufd.ioasUnmap({ ioasId: world.ioasId, iova: 0n, length: 0x10000n });
    expect(sees(world, world.unit, 0x5000)).toBe('not mapped');
    world.device.attach(world.ioasId);
    expect(sees(world, world.unit, 0x5000)).toBe('not mapped');
  });
});

describe('attach and replace apart, as drivers call them', () => {
  test('P4 a first attach of what is attached is EBUSY, a replace of what is not EINVAL', () => {
    const { iommufd, device, hwpt, ioasId } = setUp();
    const second = iommufd.ioasAlloc();
    const [a, b] = [hwpt(PASID), hwpt(PASID)];
    expect(errnoOf(() => device.replace(a))).toBe('EINVAL');
    expect(errnoOf(() => device.replace(ioasId))).toBe('EINVAL');
    expect(errnoOf(() => device.replace(a, 1))).toBe('EINVAL');
    expect([device.attachFirst(a), device.attachFirst(a, 1)]).toEqual([a, a]);
    for (const ptId of [a, b]) {
      expect(errnoOf(() => device.attachFirst(ptId))).toBe('EBUSY');
      expect(errnoOf(() => device.attachFirst(ptId, 1))).toBe('EBUSY');
    }
    expect([device.replace(b), device.replace(b, 1)]).toEqual([b, b]);
    device.detach(1);
    expect([device.attachedTo(), device.attachedTo(1)]).toEqual([b, undefined]);
    const auto = device.replace(second);
    expect(device.attachedTo()).toBe(auto);
    expect(errnoOf(() => device.attachFirst(second))).toBe('EBUSY');
    expect(device.attachedTo(0)).toBe(undefined);
  });
});

describe('objects of others', () => {
  test('O2 an id is taken at once and seen late; DESTROY and the end reach the object', () => {
    const { iommufd } = createSoftWorld();
    const ended: number[] = [];
    const object = iommufd.reserveObject();
    expect([object.id, iommufd.ioasAlloc()]).toEqual([1, 2]);
    expect(errnoOf(() => iommufd.destroy(1))).toBe('ENOENT');
    object.publish(() => ended.push(1));
    iommufd.destroy(1);
    expect(ended).toEqual([1]);
    const given = iommufd.reserveObject();
    given.abandon();
    const last = iommufd.reserveObject();
    last.publish(() => ended.push(2));
    expect(last.id).toBe(1);
    iommufd[Symbol.dispose]();
    expect(ended).toEqual([1, 2]);
  });
});
