// Rules of dirty tracking, and a naive model of it.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assert } from '../../base/errors.js';
import { MiB } from '../../base/units.js';
import type { DirtyBitmapRequest } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld } from '../testing/soft-world.js';

const DIRTY = 2;
const ON = 1;
const NO_CLEAR = 1;
const RW_AT = 7;
const u64Max = 2n ** 64n - 1n;

function setUp() {
  const world = createSoftWorld();
  const { iommufd } = world;
  const unit = world.createUnit({ hasDirtyTracking: true });
  const device = iommufd.bind(unit);
  const ioasId = iommufd.ioasAlloc();
  const hwpt = (flags = DIRTY) => iommufd.hwptAlloc({ flags, devId: device.id, ptId: ioasId });
  const fd = world.memory.create(8 * MiB);
  const map = (iova: number, length: number, start = 0) =>
    iommufd.ioasMapFile({
      flags: RW_AT,
      ioasId,
      fd,
      start: BigInt(start),
      length: BigInt(length),
      iova: BigInt(iova),
    });
  const unmap = (iova: number, length: number) =>
    iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: BigInt(length) });
  const track = (hwptId: number, flags = ON) =>
    errnoOf(() => iommufd.setDirtyTracking({ flags, hwptId }));
  const dma = (iova: number, access: 'read' | 'write' = 'write') =>
    world.translator(unit).translate(undefined, iova, access) >= 0;
  const get = (hwptId: number, change: Partial<DirtyBitmapRequest> = {}) => {
    const request = { flags: 0, hwptId, iova: 0n, length: 65536n, pageSize: 4096n };
    const bitmap = new Uint8Array(64);
    const errno = errnoOf(() => iommufd.getDirtyBitmap({ ...request, bitmap, ...change }));
    return errno ?? pagesOf(bitmap);
  };
  return { ...world, unit, device, ioasId, hwpt, map, unmap, track, dma, get };
}

function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = [];
  for (let bit = 0; bit < bitmap.length * 8; bit++) {
    if ((bitmap[bit >> 3]! >> (bit & 7)) & 1) pages.push(bit);
  }
  return pages;
}

describe('SET_DIRTY_TRACKING', () => {
  test('10 flags EOPNOTSUPP, id ENOENT, domain EOPNOTSUPP; twice is fine', () => {
    const { hwpt, track, ioasId, device } = setUp();
    const plain = hwpt(0);
    const tracked = hwpt();
    expect(track(99, 2)).toBe('EOPNOTSUPP');
    for (const id of [99, ioasId, device.id, 0]) expect(track(id)).toBe('ENOENT');
    expect([track(plain), track(plain, 0)]).toEqual(['EOPNOTSUPP', 'EOPNOTSUPP']);
    const results = [ON, ON, 0, 0].map((flags) => track(tracked, flags));
    expect(results).toEqual([undefined, undefined, undefined, undefined]);
  });

  test('10 enabling makes all clean; disabling keeps what was written', () => {
    const { hwpt, track, map, dma, get, device } = setUp();
    map(0, 65536);
    const hwptId = hwpt();
    device.attach(hwptId);
    dma(0x1000);
    track(hwptId);
    dma(0x2000);
    track(hwptId, 0);
    dma(0x3000);
    expect(get(hwptId, { flags: NO_CLEAR })).toEqual([2]);
    track(hwptId);
    expect(get(hwptId)).toEqual([]);
  });

  test('looking where a page leads marks nothing', () => {
    const { hwpt, track, map, get, device, iommufd } = setUp();
    map(0x1000, 65536);
    const hwptId = hwpt();
    device.attach(hwptId);
    track(hwptId);
    const table = iommufd.find(hwptId);
    assert(table?.kind === 'hwpt', 'a paging HWPT');
    expect(table.arenaOffsetOf(0x1001)).toBe(table.arenaOffsetOf(0x1000)! + 1);
    expect(table.arenaOffsetOf(0xfff)).toBeUndefined();
    expect(get(hwptId)).toEqual([]);
  });

  test('10 a device without dirty tracking cannot use it: EINVAL', () => {
    const { iommufd, hwpt, createUnit } = setUp();
    const other = iommufd.bind(createUnit());
    const hwptId = hwpt();
    expect(errnoOf(() => other.attach(hwptId))).toBe('EINVAL');
    const maxPasid = { flags: 0, devId: other.id, dataType: 0, dataLenMax: 0 };
    expect(iommufd.hwInfo(maxPasid).capabilities).toBe(0n);
  });
});

describe('GET_DIRTY_BITMAP', () => {
  test('10 every check, each before the next', () => {
    const { hwpt, get, ioasId } = setUp();
    const plain = hwpt(0);
    const wrong = { iova: 1n, length: 0n, pageSize: 0n };
    expect(get(99, { flags: 2, ...wrong })).toBe('EOPNOTSUPP');
    expect(get(99, wrong)).toBe('ENOENT');
    expect(get(ioasId, wrong)).toBe('ENOENT');
    expect(get(plain, wrong)).toBe('EINVAL');
    expect(get(plain, { ...wrong, length: u64Max + 1n })).toBe('EOVERFLOW');
    expect(get(plain, { ...wrong, length: 4095n })).toBe('EINVAL');
    expect(get(plain, { iova: 1n })).toBe('EINVAL');
    expect(get(plain, { length: 4097n })).toBe('EINVAL');
    expect(get(plain, { pageSize: 0n })).toBe('EINVAL');
    expect(get(plain, { pageSize: 8192n, iova: 4096n, length: 4096n })).toBe('EINVAL');
    expect(get(plain)).toBe('EOPNOTSUPP');
    expect(get(hwpt())).toEqual([]);
  });

  test('10 writes alone, those that were served alone, and each once', () => {
    const { hwpt, track, map, dma, get, device } = setUp();
    map(0, 65536);
    const hwptId = hwpt();
    device.attach(hwptId);
    track(hwptId);
    dma(0x1000, 'read');
    expect([dma(0x5fff), dma(0x10000)]).toEqual([true, false]);
    dma(0x3000);
    expect(get(hwptId, { flags: NO_CLEAR })).toEqual([3, 5]);
    expect(get(hwptId)).toEqual([3, 5]);
    expect(get(hwptId)).toEqual([]);
    dma(0x3001);
    expect(get(hwptId)).toEqual([3]);
  });

  test('10 caller bits stay; pages larger and smaller than the entry', () => {
    const { iommufd, hwpt, track, map, dma, get, device } = setUp();
    map(0, 65536);
    const hwptId = hwpt();
    device.attach(hwptId);
    track(hwptId);
    for (const iova of [0x1000, 0x6000]) dma(iova);
    expect(get(hwptId, { flags: NO_CLEAR, pageSize: 8192n })).toEqual([0, 3]);
    expect(get(hwptId, { flags: NO_CLEAR, pageSize: 2048n })).toEqual([2, 3, 12, 13]);
    expect(get(hwptId, { flags: NO_CLEAR, iova: 0x6000n, length: 4096n })).toEqual([0]);
    const bitmap = new Uint8Array([0x81]);
    const request = { flags: 0, hwptId, iova: 0n, length: 65536n, pageSize: 4096n, bitmap };
    iommufd.getDirtyBitmap(request);
    expect([...bitmap]).toEqual([0xc3]);
  });

  test('10 a hole ends the scan; what lies behind it stays dirty', () => {
    const { hwpt, track, map, dma, get, device } = setUp();
    map(0, 4096);
    map(4096, 4096, 4096);
    map(12288, 4096, 8192);
    const hwptId = hwpt();
    device.attach(hwptId);
    track(hwptId);
    for (const iova of [0, 4096, 12288]) dma(iova);
    expect(get(hwptId, { iova: 8192n, length: 8192n })).toEqual([]);
    expect(get(hwptId)).toEqual([0, 1]);
    expect(get(hwptId, { iova: 12288n, length: 4096n })).toEqual([0]);
  });

  test('10 an entry of 2 MiB is dirty as a whole; one that the range cuts stays so', () => {
    const { hwpt, track, map, dma, get, device } = setUp();
    map(2 * MiB, 2 * MiB);
    const hwptId = hwpt();
    device.attach(hwptId);
    track(hwptId);
    dma(3 * MiB);
    const iova = BigInt(3 * MiB);
    expect(get(hwptId, { iova, length: 8192n })).toEqual([0, 1]);
    const whole = { iova: BigInt(2 * MiB), length: BigInt(2 * MiB), pageSize: 65536n };
    expect(get(hwptId, whole)).toEqual(Array.from({ length: 32 }, (_, page) => page));
    expect(get(hwptId, whole)).toEqual([]);
  });

  test('10 bits belong to the HWPT, and go with the unmap', () => {
    const { hwpt, track, map, unmap, dma, get, device } = setUp();
    map(0, 65536);
    const [one, other] = [hwpt(), hwpt()];
    device.attach(one);
    track(one);
    track(other);
    dma(0x1000);
    expect([get(other), get(one, { flags: NO_CLEAR })]).toEqual([[], [1]]);
    unmap(0, 65536);
    map(0, 65536);
    expect(get(one)).toEqual([]);
    // Tracking stays on for what is mapped later.
    dma(0x2000);
    expect(get(one)).toEqual([2]);
  });
});

/** Naive: pages by number, and which HWPTs track. */
interface Model {
  readonly areas: Set<number>;
  readonly tracks: boolean[];
  readonly dirty: Set<number>[];
  attached: number | undefined;
}

type Real = ReturnType<typeof setUp> & { readonly hwpts: readonly number[] };
type Step = fc.Command<Model, Real>;

const areaPages = 4;
const areaCount = 6;
const page = fc.integer({ min: 0, max: areaPages * areaCount - 1 });
const area = fc.integer({ min: 0, max: areaCount - 1 });
const which = fc.integer({ min: 0, max: 1 });

const always = () => true;

function step(run: (model: Model, real: Real) => void): Step {
  return { check: always, run };
}

const mapStep = (index: number) =>
  step((model, { map }) => {
    if (model.areas.has(index)) return;
    map(index * areaPages * 4096, areaPages * 4096, index * areaPages * 4096);
    model.areas.add(index);
  });

const unmapStep = (index: number) =>
  step((model, { unmap }) => {
    if (!model.areas.delete(index)) return;
    unmap(index * areaPages * 4096, areaPages * 4096);
    for (const pages of model.dirty) {
      for (let at = 0; at < areaPages; at++) pages.delete(index * areaPages + at);
    }
  });

const attachStep = (index: number) =>
  step((model, { device, hwpts }) => {
    device.attach(hwpts[index]!);
    model.attached = index;
  });

const trackStep = (index: number, isOn: boolean) =>
  step((model, { track, hwpts }) => {
    expect(track(hwpts[index]!, isOn ? ON : 0)).toBe(undefined);
    model.tracks[index] = isOn;
    if (isOn) model.dirty[index]!.clear();
  });

const dmaStep = (at: number, access: 'read' | 'write') =>
  step((model, { dma }) => {
    const isServed = model.attached !== undefined && model.areas.has(Math.floor(at / areaPages));
    expect(dma(at * 4096, access)).toBe(isServed);
    if (!isServed || access === 'read' || !model.tracks[model.attached!]) return;
    model.dirty[model.attached!]!.add(at);
  });

const getStep = (index: number, from: number, flags: number) =>
  step((model, { get, hwpts }) => {
    const dirty = model.dirty[index]!;
    const expected: number[] = [];
    const end = areaPages * areaCount;
    for (let at = from; at < end && model.areas.has(Math.floor(at / areaPages)); at++) {
      if (dirty.has(at)) expected.push(at - from);
      if (flags === 0) dirty.delete(at);
    }
    const range = { iova: BigInt(from) * 4096n, length: BigInt(end - from) * 4096n };
    expect(get(hwpts[index]!, { flags, ...range })).toEqual(expected);
  });

test('10 two HWPTs of an IOAS agree with sets of pages', () => {
  const steps = [
    area.map(mapStep),
    area.map(mapStep),
    area.map(unmapStep),
    which.map(attachStep),
    fc.tuple(which, fc.boolean()).map(([index, isOn]) => trackStep(index, isOn)),
    fc.tuple(page, fc.constantFrom('read', 'write')).map(([at, access]) => dmaStep(at, access)),
    page.map((at) => dmaStep(at, 'write')),
    fc
      .tuple(which, page, fc.constantFrom(0, NO_CLEAR))
      .map(([index, from, flags]) => getStep(index, from, flags)),
  ];
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 60, size: 'max' }), (commands) => {
      const setup = () => {
        const world = setUp();
        const model: Model = {
          areas: new Set(),
          tracks: [false, false],
          dirty: [new Set(), new Set()],
          attached: undefined,
        };
        return { model, real: { ...world, hwpts: [world.hwpt(), world.hwpt()] } };
      };
      fc.modelRun(setup, commands);
    }),
    { numRuns: 60 },
  );
});
