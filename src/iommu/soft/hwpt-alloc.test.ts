// Rules of HWPT_ALLOC, HWPT_INVALIDATE and GET_HW_INFO, on traits as odd as those of mock devices.

import { describe, expect, test } from 'vitest';
import { OsError } from '../../base/errors.js';
import { bindOne, mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import {
  createMockTraits,
  type MockNested,
  mockDataType,
  mockInvalidateType,
} from '../testing/mock-traits.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { SoftUnit } from './soft-unit.js';

const NEST = 1;
const DIRTY = 2;
const FAULT = 4;
const PASID = 8;
const words = (...values: number[]) => new Uint8Array(new Uint32Array(values).buffer);
const base = 2n ** 24n;

function setUp() {
  const world = createSoftWorld();
  const nested: MockNested[] = [];
  const unit = new SoftUnit({ traits: createMockTraits({ onNested: (one) => nested.push(one) }) });
  const device = world.iommufd.bind(unit);
  const ioasId = world.iommufd.ioasAlloc();
  const { faultId, queue } = world.iommufd.faultQueueAlloc();
  const ask = (change: Partial<Parameters<typeof world.iommufd.hwptAlloc>[0]>) =>
    errnoOf(() => world.iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId: ioasId, ...change }));
  const nest = (parent: number | string, change: Parameters<typeof ask>[0] = {}) =>
    ask({ ptId: Number(parent), dataType: mockDataType, data: words(7), ...change });
  return { ...world, unit, device, ioasId, faultId, queue, ask, nest, nested };
}

describe('HWPT_ALLOC', () => {
  test('9 every check, each before the next', () => {
    const { ask, ioasId, device, faultId, iommufd } = setUp();
    // Each row is wrong in its own way and in all later ones.
    const wrong = { flags: 64 | DIRTY, devId: 99, ptId: 99, faultId: 99 };
    expect(ask({ ...wrong, data: words(1) })).toBe('EINVAL');
    expect(ask({ ...wrong, dataType: mockDataType })).toBe('EINVAL');
    expect(ask({ ...wrong, dataType: mockDataType, data: new Uint8Array() })).toBe('EINVAL');
    expect(ask(wrong)).toBe('ENOENT');
    expect(ask({ ...wrong, devId: ioasId })).toBe('ENOENT');
    expect(ask({ ...wrong, devId: device.id })).toBe('EINVAL');
    expect(ask({ ...wrong, devId: device.id, ptId: faultId })).toBe('EINVAL');
    expect(ask({ ...wrong, devId: device.id, ptId: device.id })).toBe('EINVAL');
    expect(ask({ flags: 64 | FAULT, faultId: 99 })).toBe('EOPNOTSUPP');
    expect(ask({ flags: NEST | FAULT, faultId: 99 })).toBe('EOPNOTSUPP');
    expect(ask({ flags: FAULT, faultId: 99 })).toBe('ENOENT');
    expect(ask({ flags: FAULT, faultId: ioasId })).toBe('ENOENT');
    expect(ask({ flags: FAULT })).toBe('ENOENT');
    // Rolled back: no domain is left, and its id neither.
    expect(iommufd.ioasIovaRanges(ioasId, 9).alignment).toBe(1n);
    expect(ask({ flags: FAULT, faultId })).toBe(4);
    expect(ask({ flags: NEST | DIRTY | PASID })).toBe(5);
  });

  test('9 flags without the feature are EOPNOTSUPP', () => {
    const world = createSoftWorld();
    const { hwpt } = bindOne(world, { pasidBits: 0 });
    for (const flags of [NEST, DIRTY, PASID, 16]) {
      expect(errnoOf(() => hwpt(flags))).toBe('EOPNOTSUPP');
    }
  });

  test('9 data: none without support, unknown EOPNOTSUPP, of a wrong length EINVAL, EFAULT last', () => {
    const { ask, ioasId, iommufd } = setUp();
    const dataType = mockDataType;
    const unreadable = {
      length: 4,
      slice(): Uint8Array {
        throw new OsError('EFAULT', 'read');
      },
    };
    expect(ask({ dataType: 5, data: unreadable })).toBe('EOPNOTSUPP');
    expect(ask({ dataType, data: words(1, 0, 0) })).toBe('EINVAL');
    expect(ask({ dataType, data: new Uint8Array(3) })).toBe('EINVAL');
    expect(ask({ dataType, data: unreadable })).toBe('EFAULT');
    expect(ask({ dataType, data: words(1, 2) })).toBe('EOPNOTSUPP');
    expect(typeof ask({ dataType, data: words(1) })).toBe('number');
    expect(iommufd.ioasIovaRanges(ioasId, 9).alignment).toBe(2048n);
    expect(typeof ask({ dataType, data: words(1, 1) })).toBe('number');
    expect(iommufd.ioasIovaRanges(ioasId, 9).alignment).toBe(4096n);
    const plain = bindOne(createSoftWorld());
    const request = { flags: 0, devId: plain.device.id, ptId: plain.ioasId };
    const withData = { ...request, dataType, data: words(1) };
    expect(errnoOf(() => plain.iommufd.hwptAlloc(withData))).toBe('EOPNOTSUPP');
  });

  test('9 A6 it pins at once and fails as a whole', () => {
    const world = setUp();
    mapOne(world, world.ioasId, base);
    const hwptId = world.ask({});
    expect([typeof hwptId, world.extents.count]).toEqual(['number', 1]);
    const second = world.iommufd.ioasAlloc();
    mapOne(world, second, 0n);
    // Outside of the aperture.
    expect(world.ask({ ptId: second })).toBe('EADDRINUSE');
    expect(world.iommufd.ioasIovaRanges(second, 9).rangeCount).toBe(1);
  });
});

describe('nested', () => {
  test('9 flags, type and parent', () => {
    const { ask, nest, ioasId, faultId, device } = setUp();
    const parent = ask({ flags: NEST });
    const plain = ask({});
    expect(nest(plain, { flags: NEST })).toBe('EOPNOTSUPP');
    expect(nest(plain, { flags: DIRTY })).toBe('EOPNOTSUPP');
    expect(ask({ ptId: Number(parent) })).toBe('EOPNOTSUPP');
    expect(nest(plain)).toBe('EINVAL');
    const auto = device.attach(ioasId);
    expect(nest(auto)).toBe('EINVAL');
    expect(nest(parent, { dataType: 3 })).toBe('EOPNOTSUPP');
    expect(nest(parent, { data: new Uint8Array(2) })).toBe('EINVAL');
    const nested = nest(parent, { flags: PASID | FAULT, faultId });
    expect(typeof nested).toBe('number');
    expect(nest(nested)).toBe('EINVAL');
    expect(nest(parent, { flags: FAULT, faultId: 99 })).toBe('ENOENT');
  });

  test('9 A12 a parent of another driver is EINVAL', () => {
    const { ask, nest, iommufd } = setUp();
    const parent = ask({ flags: NEST });
    const traits = { ...createMockTraits(), driver: 'other' };
    const other = iommufd.bind(new SoftUnit({ traits }));
    expect(nest(parent, { devId: other.id })).toBe('EINVAL');
  });

  test('DES2 the parent stays as long as a nested one, that as long as a device', () => {
    const world = setUp();
    const { iommufd, device, unit } = world;
    const parent = Number(world.ask({ flags: NEST }));
    const nested = Number(world.nest(parent));
    mapOne(world, world.ioasId, base);
    expect(device.attach(nested)).toBe(nested);
    // Its own tables are not walked.
    expect(sees(world, unit, Number(base))).toBe('not attached');
    const errno = (id: number) => errnoOf(() => iommufd.destroy(id));
    expect([errno(world.ioasId), errno(parent), errno(nested)]).toEqual([
      'EBUSY',
      'EBUSY',
      'EBUSY',
    ]);
    device.attach(parent);
    expect(sees(world, unit, Number(base))).toBe('mapped');
    expect([errno(nested), errno(parent)]).toEqual([undefined, 'EBUSY']);
    device.detach();
    expect([errno(parent), errno(world.ioasId)]).toEqual([undefined, undefined]);
  });

  test('P8 P1 a PASID takes a nested HWPT that was made for it', () => {
    const { ask, nest, device } = setUp();
    const parent = ask({ flags: NEST });
    const [fit, unfit] = [Number(nest(parent, { flags: PASID })), Number(nest(parent))];
    expect(errnoOf(() => device.attach(unfit, 5))).toBe('EINVAL');
    expect(device.attach(fit, 5)).toBe(fit);
    expect(errnoOf(() => device.attach(unfit))).toBe('EINVAL');
    expect(device.attach(fit)).toBe(fit);
  });
});

describe('HWPT_INVALIDATE', () => {
  const refused = (errno: string) => ({ handledCount: 0, errno });

  function invalidate() {
    const world = setUp();
    const parent = Number(world.ask({ flags: NEST }));
    const hwptId = Number(world.nest(parent));
    const request = { hwptId, dataType: mockInvalidateType, entryLen: 8, entryNum: 1 };
    const call = (change: Partial<Parameters<typeof world.iommufd.hwptInvalidate>[0]>) =>
      world.iommufd.hwptInvalidate({ ...request, data: words(0, 1), ...change });
    return { ...world, parent, hwptId, call };
  }

  test('9 every check, each before the next', () => {
    const { call, parent, ioasId } = invalidate();
    expect(call({ data: undefined, hwptId: 99 })).toEqual(refused('EINVAL'));
    expect(call({ entryLen: 0, hwptId: 99 })).toEqual(refused('EINVAL'));
    expect(call({ entryLen: 4097, hwptId: 99 })).toEqual(refused('EINVAL'));
    expect(call({ entryNum: 2 ** 19 + 1, hwptId: 99 })).toEqual(refused('EINVAL'));
    expect(call({ hwptId: 99 })).toEqual(refused('ENOENT'));
    for (const hwptId of [parent, ioasId]) expect(call({ hwptId })).toEqual(refused('EINVAL'));
    expect(call({ dataType: 1 })).toEqual({ handledCount: 0, errno: 'EINVAL' });
    expect(call({ dataType: 1, entryNum: 0, data: undefined })).toEqual({
      handledCount: 0,
      errno: 'EINVAL',
    });
    expect(call({ entryNum: 0, data: undefined, entryLen: 0 })).toEqual({
      handledCount: 0,
      errno: undefined,
    });
  });

  test('9 entries are handled one by one up to a wrong one', () => {
    const { call, nested } = invalidate();
    const data = words(0, 1, 0, 2, 0, 4, 1, 0);
    expect(call({ entryNum: 4, data })).toEqual({ handledCount: 2, errno: 'EINVAL' });
    expect(nested[0]?.iotlb).toEqual([7, 0, 0, 7]);
    expect(call({ data: words(2, 0) })).toEqual({ handledCount: 0, errno: 'EOPNOTSUPP' });
    expect(call({ data: words(1, 0) })).toEqual({ handledCount: 1, errno: undefined });
    expect(nested[0]?.iotlb).toEqual([0, 0, 0, 0]);
    const unreadable = {
      length: 16,
      slice(start: number, end: number): Uint8Array {
        if (end > 8) throw new OsError('EFAULT', 'read');
        return words(0, 0).slice(start, end);
      },
    };
    expect(call({ entryNum: 2, data: unreadable })).toEqual({ handledCount: 1, errno: 'EFAULT' });
  });

  test('9 without anything to invalidate it is EOPNOTSUPP', () => {
    const { iommufd } = createSoftWorld();
    const traits = { ...createMockTraits(), nest: () => ({}) };
    const device = iommufd.bind(new SoftUnit({ traits }));
    const ioasId = iommufd.ioasAlloc();
    const parent = iommufd.hwptAlloc({ flags: NEST, devId: device.id, ptId: ioasId });
    const data = words(1);
    const ask = { flags: 0, devId: device.id, ptId: parent, dataType: 1, data };
    const hwptId = iommufd.hwptAlloc(ask);
    const request = { hwptId, dataType: 0, entryLen: 8, entryNum: 0, data: undefined };
    expect(iommufd.hwptInvalidate(request)).toEqual(refused('EOPNOTSUPP'));
  });
});

describe('GET_HW_INFO', () => {
  test('9 flags, device, type; as many bytes as asked for', () => {
    const { iommufd, device, ioasId } = setUp();
    const ask = (change: Partial<Parameters<typeof iommufd.hwInfo>[0]>) =>
      errnoOf(() =>
        iommufd.hwInfo({ flags: 0, devId: device.id, dataType: 0, dataLenMax: 64, ...change }),
      );
    expect(ask({ flags: 2, devId: 99 })).toBe('EOPNOTSUPP');
    expect(ask({ devId: 99 })).toBe('ENOENT');
    expect(ask({ devId: ioasId })).toBe('ENOENT');
    expect(ask({ flags: 1, dataType: 1 })).toBe('EOPNOTSUPP');
    const info = { dataType: 0xfeedbeef, dataLen: 8, maxPasidLog2: 20, capabilities: 9n };
    const data = words(0, 0xdeadbeef);
    expect(ask({ dataType: 1 })).toEqual({ ...info, data });
    expect(ask({ flags: 1, dataType: 0xfeedbeef })).toEqual({ ...info, data });
    expect(ask({ flags: 1, dataLenMax: 3 })).toEqual({ ...info, data: data.slice(0, 3) });
  });

  test('9 an IOMMU without information has type NONE, whatever is asked for', () => {
    const { iommufd, device } = bindOne(createSoftWorld(), { pasidBits: 3 });
    const ask = { flags: 1, devId: device.id, dataType: 4, dataLenMax: 8 };
    expect(iommufd.hwInfo(ask)).toEqual({
      dataType: 0,
      dataLen: 0,
      data: new Uint8Array(),
      maxPasidLog2: 3,
      capabilities: 0n,
    });
  });
});
