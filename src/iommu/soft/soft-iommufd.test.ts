// Rules of iommufd, by their tags: IOAS, ranges, maps, unmaps, destroy. Attach has its own file.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, FIXED, PAGE, R, createIoasWorld as setUp } from '../testing/ioas-world.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { faultNumber } from './device-iommu.js';

describe('object ids', () => {
  test('O1 lowest free from 1, one namespace', () => {
    const world = createSoftWorld();
    const { iommufd } = world;
    expect([iommufd.ioasAlloc(), iommufd.ioasAlloc(), iommufd.ioasAlloc()]).toEqual([1, 2, 3]);
    iommufd.destroy(2);
    iommufd.destroy(1);
    expect(iommufd.bind(world.createUnit()).id).toBe(1);
    expect(iommufd.ioasAlloc()).toBe(2);
    expect(iommufd.ioasAlloc()).toBe(4);
  });

  test('O2 a failed command gives its id back', () => {
    const world = createSoftWorld();
    const { iommufd } = world;
    const ioasId = iommufd.ioasAlloc();
    const device = iommufd.bind(world.createUnit());
    const fd = world.memory.create(4096, { isShmem: false });
    iommufd.ioasMapFile({ flags: R, ioasId, fd, start: 0n, length: PAGE, iova: 0n });
    expect(errnoOf(() => device.attach(ioasId))).toBe('EINVAL');
    const request = { flags: 0, devId: device.id, ptId: ioasId };
    expect(errnoOf(() => iommufd.hwptAlloc(request))).toBe('EINVAL');
    expect(iommufd.ioasAlloc()).toBe(3);
  });

  test('O3 an object of another kind does not exist', () => {
    const world = createSoftWorld();
    const device = world.iommufd.bind(world.createUnit());
    const ask = () => world.iommufd.ioasIovaRanges(device.id, 1);
    expect(errnoOf(ask)).toBe('ENOENT');
  });

  test('DES1 DES5 O4 unknown, 0 and destroyed ids are ENOENT; the id is free at once', () => {
    const { iommufd, ioasId } = setUp();
    expect(errnoOf(() => iommufd.destroy(0))).toBe('ENOENT');
    expect(errnoOf(() => iommufd.destroy(99))).toBe('ENOENT');
    iommufd.destroy(ioasId);
    expect(errnoOf(() => iommufd.destroy(ioasId))).toBe('ENOENT');
    expect(iommufd.ioasAlloc()).toBe(ioasId);
  });

  test('DES2 A8 what is in use is EBUSY, and nothing changes', () => {
    const world = setUp();
    const { device, hwptId } = attachOne(world, world.ioasId);
    for (const id of [device.id, hwptId, world.ioasId]) {
      expect(errnoOf(() => world.iommufd.destroy(id))).toBe('EBUSY');
    }
    expect(world.map()).toBe(PAGE);
    const manual = world.iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId: world.ioasId });
    device.detach();
    expect(errnoOf(() => world.iommufd.destroy(world.ioasId))).toBe('EBUSY');
    world.iommufd.destroy(manual);
    world.iommufd.destroy(world.ioasId);
  });

  test('DES4 destroying an IOAS drops its areas and their files', () => {
    const world = setUp();
    world.map();
    expect(world.memory.openCount).toBe(2);
    world.iommufd.destroy(world.ioasId);
    expect(world.memory.openCount).toBe(1);
    expect(world.fd.isOpen).toBe(true);
  });

  test('L2 disposing the context destroys everything', () => {
    const world = setUp();
    const { device } = attachOne(world, world.ioasId);
    world.map();
    world.iommufd.hwptAlloc({ flags: 8, devId: device.id, ptId: world.ioasId });
    world.iommufd[Symbol.dispose]();
    expect([world.pool.usedCount, world.extents.count, world.arena.rangeCount]).toEqual([0, 0, 0]);
  });
});

describe('IOAS_ALLOC, IOVA_RANGES, ALLOW_IOVAS', () => {
  test('2 flags are EOPNOTSUPP', () => {
    expect(errnoOf(() => createSoftWorld().iommufd.ioasAlloc(1))).toBe('EOPNOTSUPP');
  });

  test('3 a fresh IOAS is one range with alignment 1; areas do not change it', () => {
    const { iommufd, ioasId, map } = setUp();
    map();
    iommufd.ioasAllowIovas(ioasId, [{ start: 0n, last: 1n << 20n }]);
    expect(iommufd.ioasIovaRanges(ioasId, 1)).toEqual({
      ranges: [{ start: 0n, last: u64Max }],
      rangeCount: 1,
      alignment: 1n,
      errno: undefined,
    });
    expect(errnoOf(() => iommufd.ioasIovaRanges(7, 1))).toBe('ENOENT');
  });

  test('3 aperture and reserved ranges are punched out; too little room is EMSGSIZE', () => {
    const world = setUp();
    attachOne(world, world.ioasId, {
      aperture: { start: 0x1000n, last: 2n ** 48n - 1n },
      reserved: [
        { start: 0xfee0_0000n, last: 0xfeef_ffffn },
        { start: 0xfeef_0000n, last: 0xfef0_0000n },
      ],
    });
    const ranges = [
      { start: 0x1000n, last: 0xfedf_ffffn },
      { start: 0xfef0_0001n, last: 2n ** 48n - 1n },
    ];
    const ask = (max: number) => world.iommufd.ioasIovaRanges(world.ioasId, max);
    expect(ask(2)).toEqual({ ranges, rangeCount: 2, alignment: PAGE, errno: undefined });
    expect(ask(1)).toMatchObject({ ranges: [ranges[0]], rangeCount: 2, errno: 'EMSGSIZE' });
    expect(ask(0)).toMatchObject({ ranges: [], rangeCount: 2, errno: 'EMSGSIZE' });
  });

  test.each([
    ['one byte', [[5n, 5n]], 'EINVAL'],
    ['backwards', [[6n, 5n]], 'EINVAL'],
    [
      'overlap',
      [
        [0n, 9n],
        [9n, 20n],
      ],
      'EINVAL',
    ],
    [
      'adjacent',
      [
        [10n, 19n],
        [0n, 9n],
      ],
      undefined,
    ],
    [
      'reserved',
      [
        [0n, 9n],
        [2n ** 48n, u64Max],
      ],
      'EADDRINUSE',
    ],
    [
      'wrong entry before reserved',
      [
        [2n ** 48n, u64Max],
        [3n, 3n],
      ],
      'EINVAL',
    ],
  ] as [string, [bigint, bigint][], string | undefined][])('4 %s', (_name, entries, wanted) => {
    const world = setUp();
    attachOne(world, world.ioasId);
    const ranges = entries.map(([start, last]) => ({ start, last }));
    expect(errnoOf(() => world.iommufd.ioasAllowIovas(world.ioasId, ranges))).toBe(wanted);
  });

  test('4 the list restricts automatic placement alone, survives a failed call, and is cleared', () => {
    const { iommufd, ioasId, map } = setUp();
    iommufd.ioasAllowIovas(ioasId, [{ start: 0x10_0000n, last: 0x10_0fffn }]);
    expect(errnoOf(() => iommufd.ioasAllowIovas(99, []))).toBe('ENOENT');
    expect(errnoOf(() => iommufd.ioasAllowIovas(ioasId, [{ start: 1n, last: 1n }]))).toBe('EINVAL');
    expect(map({ iova: 0x5000n })).toBe(0x5000n);
    expect(map({ flags: R })).toBe(0x10_0000n);
    expect(map({ flags: R })).toBe('ENOSPC');
    iommufd.ioasAllowIovas(ioasId, []);
    expect(map({ flags: R })).toBe(0x1000n);
  });
});

describe('automatic placement', () => {
  test('first fit from the first page, with the page offset of the source', () => {
    const { map } = setUp();
    expect(map({ flags: R, length: 3n * PAGE, start: PAGE })).toBe(PAGE);
    expect(map({ flags: R, length: PAGE, start: 0x123n })).toBe((4n * PAGE) | 0x123n);
    expect(map({ flags: R, length: 2n * PAGE })).toBe(6n * PAGE);
  });

  test('2 MiB of an aligned source get 2 MiB alignment, and no more', () => {
    const { map } = setUp();
    const large = BigInt(2 * MiB);
    expect(map({ flags: R, length: large })).toBe(large);
    expect(map({ flags: R, length: 4n * large })).toBe(2n * large);
    expect(map({ flags: R, length: large, start: PAGE })).toBe(6n * large);
    expect(map({ flags: R, length: large - PAGE, start: PAGE })).toBe(PAGE);
  });

  test('a length of half the space is EOVERFLOW, one less has no room twice', () => {
    const { map } = setUp();
    const half = u64Max / 2n;
    expect(map({ flags: R, length: half })).toBe('EOVERFLOW');
    expect(map({ flags: R, length: half - 1n })).toBe(BigInt(2 * MiB));
    expect(map({ flags: R, length: half - 1n })).toBe('ENOSPC');
  });

  test('an unaligned source is EINVAL once there is a domain', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    expect(world.map({ flags: R, start: 0x800n })).toBe('EINVAL');
  });

  test('neighbouring allowed ranges are one; a hole of one byte is none', () => {
    const { iommufd, ioasId, map } = setUp();
    iommufd.ioasAllowIovas(ioasId, [
      { start: 0x8000n, last: 0x8fffn },
      { start: 0x9000n, last: 0x9fffn },
    ]);
    expect(map({ flags: R, length: 2n * PAGE, start: PAGE })).toBe(0x8000n);
    iommufd.ioasAllowIovas(ioasId, [{ start: 0x1_0000n, last: 0x1_0001n }]);
    expect(map({ flags: FIXED | R, iova: 0x1_0001n, length: 1n })).toBe(0x1_0001n);
    expect(map({ flags: R, length: 1n })).toBe('ENOSPC');
  });
});

describe('UNMAP', () => {
  test('1 to 5, in order', () => {
    const { unmap } = setUp();
    expect(unmap(u64Max, 0n, 99)).toBe('ENOENT');
    expect(unmap(u64Max, 0n)).toBe('EOVERFLOW');
    expect(unmap(1n, u64Max)).toBe('EOVERFLOW');
    expect(unmap(0n, 0n)).toBe('EINVAL');
    expect(unmap(u64Max - 1n, 3n)).toBe('EOVERFLOW');
    expect(unmap(u64Max - 1n, 2n)).toBe('ENOENT');
  });

  test('2 "all" succeeds on nothing, and reports bytes', () => {
    const { unmap, map } = setUp();
    expect(unmap(0n, u64Max)).toBe(0n);
    map();
    map({ iova: 2n ** 64n - 2n * PAGE, length: 2n * PAGE });
    expect(unmap(0n, u64Max)).toBe(3n * PAGE);
  });

  test('6c an area is never split', () => {
    const { unmap, map } = setUp();
    map({ iova: 0x2000n, length: 2n * PAGE });
    expect(unmap(0x2000n, PAGE)).toBe('ENOENT');
    expect(unmap(0x3000n, PAGE)).toBe('ENOENT');
    expect(unmap(0x1000n, 2n * PAGE)).toBe('ENOENT');
    expect(unmap(0x2001n, 4n * PAGE)).toBe('ENOENT');
    expect(unmap(0x800n, 4n * PAGE)).toBe(2n * PAGE);
  });

  test('6 not atomic: what comes before the area that sticks out stays removed', () => {
    const world = setUp();
    const { unit } = attachOne(world, world.ioasId);
    world.map({ iova: 0x1000n });
    world.map({ iova: 0x3000n, length: 2n * PAGE });
    expect(world.unmap(0n, 0x4000n)).toBe('ENOENT');
    const device = world.translator(unit);
    expect(device.translate(undefined, 0x1000, 'read')).toBe(faultNumber('not mapped'));
    expect(device.translate(undefined, 0x3000, 'read')).toBeGreaterThanOrEqual(0);
    expect(world.unmap(0n, 0x6000n)).toBe(2n * PAGE);
    expect(world.extents.count).toBe(0);
  });

  test('7 an empty range is ENOENT; holes do not count', () => {
    const { unmap, map } = setUp();
    map({ iova: 0x1000n });
    map({ iova: 0x9000n });
    expect(unmap(0x2000n, PAGE)).toBe('ENOENT');
    expect(unmap(0n, 0xa000n)).toBe(2n * PAGE);
  });

  test('areas at the very end of the space', () => {
    const { unmap, map } = setUp();
    map({ iova: 2n ** 64n - PAGE });
    expect(unmap(2n ** 64n - PAGE - 1n, PAGE)).toBe('ENOENT');
    expect(unmap(2n ** 64n - PAGE, PAGE)).toBe(PAGE);
  });
});

describe('invariants', () => {
  test('I1 I3 I5 I6 I13 over random calls, against a list', () => {
    const small = fc.constantFrom(0n, 1n, 2n, 3n, 4n, 6n, 9n);
    const step = fc.record({
      kind: fc.constantFrom('fixed', 'auto', 'unmap'),
      page: small,
      pages: fc.constantFrom(0n, 1n, 2n, 3n),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, hasDomain) => {
        const world = setUp();
        if (hasDomain) attachOne(world, world.ioasId);
        let areas: { start: bigint; end: bigint }[] = [];
        for (const { kind, page, pages } of steps) {
          const [start, end] = [page * PAGE, (page + pages) * PAGE];
          const meets = areas.filter((area) => area.start < end && area.end > start);
          if (kind === 'unmap') {
            let wanted: string | bigint = 0n;
            for (const area of [...meets].sort((a, b) => (a.start < b.start ? -1 : 1))) {
              if (area.start < start || area.end > end) {
                wanted = 'ENOENT';
                break;
              }
              wanted += area.end - area.start;
              areas = areas.filter((each) => each !== area);
            }
            if (wanted === 0n) wanted = 'ENOENT';
            expect(world.unmap(start, end - start)).toBe(pages === 0n ? 'EINVAL' : wanted);
            continue;
          }
          const flags = kind === 'fixed' ? FIXED | R : R;
          const found = world.map({ flags, iova: start, length: end - start });
          if (pages === 0n) expect(found).toBe('EINVAL');
          else if (kind === 'fixed') {
            expect(found).toBe(meets.length > 0 ? 'EEXIST' : start);
            if (meets.length === 0) areas.push({ start, end });
          } else {
            // Lowest candidate; three pages are aligned as four.
            const unit = (pages === 3n ? 4n : pages) * PAGE;
            let at = unit > PAGE ? unit : PAGE;
            const hits = (area: { start: bigint; end: bigint }) =>
              area.start < at + end - start && area.end > at;
            while (areas.some(hits)) at += unit;
            expect(found).toBe(at);
            areas.push({ start: at, end: at + end - start });
          }
        }
        const total = areas.reduce((sum, area) => sum + area.end - area.start, 0n);
        expect(world.unmap(0n, u64Max)).toBe(total);
        expect(world.extents.count).toBe(0);
      }),
      { numRuns: 80 },
    );
  });
});
