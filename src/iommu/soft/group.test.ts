// Rules of groups, and of which page tables an IOMMU can use.

import { describe, expect, test } from 'vitest';
import { OsError } from '../../base/errors.js';
import { bindOne, mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { SoftGroup } from './group.js';
import { SoftUnit } from './soft-unit.js';
import { createTraits } from './traits.js';

const PASID = 8;

const setUp = (options: Parameters<typeof bindOne>[1] = {}) => bindOne(createSoftWorld(), options);

describe('groups', () => {
  test('A3 members share the HWPT; the last detach takes the hardware off', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const units = [world.createUnit({ group }), world.createUnit({ group })] as const;
    const [one, other] = units.map((unit) => world.iommufd.bind(unit));
    const [ioasId, second] = [world.iommufd.ioasAlloc(), world.iommufd.ioasAlloc()];
    mapOne(world, ioasId);
    const auto = one!.attach(ioasId);
    expect(sees(world, units[1])).toBe('mapped');
    expect(errnoOf(() => other!.attach(second))).toBe('EINVAL');
    expect(world.iommufd.ioasIovaRanges(second, 9).rangeCount).toBe(1);
    expect(other!.attach(ioasId)).toBe(auto);
    // A replace by one moves all.
    other!.attach(second);
    expect(units.map((unit) => sees(world, unit))).toEqual(['not mapped', 'not mapped']);
    one!.detach();
    expect(sees(world, units[0])).toBe('not mapped');
    other!.detach();
    expect(units.map((unit) => sees(world, unit))).toEqual(['not attached', 'not attached']);
    world.iommufd.destroy(ioasId);
    world.iommufd.destroy(second);
    expect([world.pool.usedCount, world.extents.count]).toEqual([0, 0]);
  });

  test('A3 a replace checks the reserved ranges of every member first', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const reserved = [{ start: 0n, last: 0xfffn }];
    const one = world.iommufd.bind(world.createUnit({ group }));
    const other = world.iommufd.bind(world.createUnit({ group, reserved }));
    const [ioasId, second] = [world.iommufd.ioasAlloc(), world.iommufd.ioasAlloc()];
    one.attach(ioasId);
    other.attach(ioasId);
    mapOne(world, second, 0n);
    const before = world.iommufd.ioasIovaRanges(ioasId, 9);
    expect(errnoOf(() => one.attach(second))).toBe('EADDRINUSE');
    expect(world.iommufd.ioasIovaRanges(ioasId, 9)).toEqual(before);
    world.iommufd.ioasUnmap({ ioasId: second, iova: 0n, length: 4096n });
    one.attach(second);
    expect(world.iommufd.ioasIovaRanges(second, 9).ranges[0]?.start).toBe(0x1000n);
    expect(world.iommufd.ioasIovaRanges(ioasId, 9).ranges[0]?.start).toBe(0n);
  });

  test('P6 a PASID slot belongs to the group', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const one = world.iommufd.bind(world.createUnit({ group }));
    const other = world.iommufd.bind(world.createUnit({ group }));
    const ioasId = world.iommufd.ioasAlloc();
    const [a, b] = [0, 1].map(() =>
      world.iommufd.hwptAlloc({ flags: PASID, devId: one.id, ptId: ioasId }),
    );
    one.attach(a!, 3);
    expect(errnoOf(() => other.attach(b!, 3))).toBe('EINVAL');
    expect(other.attach(a!, 3)).toBe(a);
  });
});

describe('groups that others use', () => {
  test('8.1 a driver of the host on any member refuses all: EPERM, EBUSY with its own tables', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const [one, other] = [world.createUnit({ group }), world.createUnit({ group })];
    const quiet = group.useByDriver(other, 'own translation');
    expect(errnoOf(() => world.iommufd.bind(one))).toBe('EBUSY');
    const loud = group.useByDriver(one, 'host translation');
    expect(errnoOf(() => world.iommufd.bind(one))).toBe('EPERM');
    quiet[Symbol.dispose]();
    expect(errnoOf(() => world.iommufd.bind(other))).toBe('EPERM');
    loud[Symbol.dispose]();
    const device = world.iommufd.bind(one);
    expect(errnoOf(() => group.useByDriver(other, 'host translation'))).toBe('EBUSY');
    device.close();
    group.useByDriver(other, 'host translation');
    expect(errnoOf(() => world.iommufd.bind(one))).toBe('EPERM');
  });

  test('P3 P6 the narrowest member with PASIDs decides; one without is left out', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const units = [4, 2, 0].map((pasidBits) => world.createUnit({ group, pasidBits }));
    const [wide, , none] = units.map((unit) => world.iommufd.bind(unit));
    const ioasId = world.iommufd.ioasAlloc();
    mapOne(world, ioasId);
    const hwptId = world.iommufd.hwptAlloc({ flags: PASID, devId: wide!.id, ptId: ioasId });
    expect(errnoOf(() => wide!.attach(hwptId, 4))).toBe('EINVAL');
    wide!.attach(hwptId, 3);
    expect(units.map((unit) => sees(world, unit, 0, 3))).toEqual([
      'mapped',
      'mapped',
      'not attached',
    ]);
    expect(errnoOf(() => none!.attach(hwptId, 2))).toBe('EOPNOTSUPP');
  });

  test('A3 who is bound later sees what the group sees, and sends nothing once closed', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const units = [world.createUnit({ group }), world.createUnit({ group })] as const;
    const device = world.iommufd.bind(units[0]);
    const ioasId = world.iommufd.ioasAlloc();
    mapOne(world, ioasId);
    device.attach(ioasId);
    expect(sees(world, units[1])).toBe('not attached');
    const later = world.iommufd.bind(units[1]);
    expect(sees(world, units[1])).toBe('mapped');
    later.close();
    expect(units.map((unit) => sees(world, unit))).toEqual(['mapped', 'not attached']);
  });
});

describe('what an IOMMU can use', () => {
  test('A12 tables of another driver, of other pages or with dirty tracking are EINVAL', () => {
    const world = createSoftWorld();
    const ioasId = world.iommufd.ioasAlloc();
    const maker = world.iommufd.bind(world.createUnit({ hasDirtyTracking: true }));
    const hwptId = world.iommufd.hwptAlloc({ flags: 2, devId: maker.id, ptId: ioasId });
    const cases = [{ driver: 'other', hasDirtyTracking: true }, {}, { pageBytes: 2048 as const }];
    for (const options of cases) {
      const odd = world.iommufd.bind(world.createUnit(options));
      expect(errnoOf(() => odd.attach(hwptId))).toBe('EINVAL');
      // A4: it gets one of its own.
      expect(odd.attach(ioasId)).not.toBe(hwptId);
      odd.close();
    }
    expect(maker.attach(hwptId)).toBe(hwptId);
  });

  test('5.5 the smallest page decides the alignment; above 4 KiB is EINVAL', () => {
    const world = createSoftWorld();
    const ioasId = world.iommufd.ioasAlloc();
    const alignment = () => world.iommufd.ioasIovaRanges(ioasId, 9).alignment;
    const small = world.iommufd.bind(world.createUnit({ pageBytes: 2048 }));
    small.attach(ioasId);
    expect(alignment()).toBe(2048n);
    mapOne(world, ioasId, 2048n, 2048n);
    const large = world.iommufd.bind(world.createUnit());
    expect(errnoOf(() => large.attach(ioasId))).toBe('EADDRINUSE');
    world.iommufd.ioasUnmap({ ioasId, iova: 0n, length: 8192n });
    large.attach(ioasId);
    expect(alignment()).toBe(4096n);
    large.detach();
    expect(alignment()).toBe(2048n);
    small.detach();
    expect(alignment()).toBe(1n);
    const traits = createTraits({ pasidBits: 4 });
    const format = { ...traits.format, pageBytes: 8192 };
    const odd = new SoftUnit({ traits: { ...traits, format } });
    expect(errnoOf(() => world.iommufd.bind(odd).attach(ioasId))).toBe('EINVAL');
  });

  test('A5 P7 ranges that the driver can do without are not reserved', () => {
    const reserved = [
      { start: 0n, last: 0xfffn, kind: 'direct-relaxable' as const },
      { start: 0x2000n, last: 0x2fffn, kind: 'msi' as const },
    ];
    const { iommufd, device, ioasId } = setUp({ reserved });
    device.attach(ioasId);
    const { ranges } = iommufd.ioasIovaRanges(ioasId, 9);
    expect(ranges.map(({ start, last }) => [start, last])).toEqual([
      [0n, 0x1fffn],
      [0x3000n, 2n ** 48n - 1n],
    ]);
  });

  test('a refusal of one member leaves every member as it was', () => {
    const world = createSoftWorld();
    const group = new SoftGroup();
    const log: string[] = [];
    let isRefusing = false;
    const unitOf = (name: string) => {
      return world.createUnit({
        group,
        onProgram(format, pasid) {
          if (isRefusing && name === 'b' && format) throw new OsError('ENOMEM', 'attach');
          log.push(`${name} ${pasid ?? 'plain'} ${format === undefined ? 'off' : 'on'}`);
        },
      });
    };
    const units = [unitOf('a'), unitOf('b')];
    const [device] = units.map((unit) => world.iommufd.bind(unit));
    const ioasId = world.iommufd.ioasAlloc();
    mapOne(world, ioasId);
    isRefusing = true;
    expect(errnoOf(() => device!.attach(ioasId))).toBe('ENOMEM');
    expect(log).toEqual(['a plain on', 'a plain off']);
    expect(units.map((unit) => sees(world, unit))).toEqual(['not attached', 'not attached']);
    expect(world.iommufd.ioasIovaRanges(ioasId, 9).rangeCount).toBe(1);
    isRefusing = false;
    device!.attach(ioasId);
    device!.detach();
    expect(log.slice(2)).toEqual(['a plain on', 'b plain on', 'a plain off', 'b plain off']);
    expect(world.iommufd.ioasIovaRanges(ioasId, 9).alignment).toBe(1n);
  });
});
