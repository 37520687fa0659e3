// Rules of fault queues: page requests of a device, delivered in whole groups and answered once.

import { describe, expect, test } from 'vitest';
import { iommuHwptPageResponse, iommuHwptPgfault } from '../../uapi/iommufd-fault.js';
import { errnoOf } from '../testing/errno-of.js';
import { createMockTraits, mockDataType } from '../testing/mock-traits.js';
import { createSoftWorld } from '../testing/soft-world.js';
import type { PageRequest, PageResponse } from './fault-object.js';
import { SoftUnit } from './soft-unit.js';
import { createTraits } from './traits.js';

const NEST = 1;
const FAULT = 4;
const PASID = 8;
const recordBytes = 40;

function setUp() {
  const world = createSoftWorld();
  const { iommufd } = world;
  const answers: PageResponse[] = [];
  const onPageResponse = (response: PageResponse) => void answers.push(response);
  const unit = new SoftUnit({ traits: createMockTraits(), onPageResponse });
  const device = iommufd.bind(unit);
  const ioasId = iommufd.ioasAlloc();
  const { faultId, queue } = iommufd.faultQueueAlloc();
  const hwpt = (flags = FAULT | PASID) =>
    iommufd.hwptAlloc({ flags, devId: device.id, ptId: ioasId, faultId });
  const ask = (change: Partial<PageRequest> = {}) =>
    unit.requestPage({
      pasid: undefined,
      grpid: 1,
      perm: 1,
      addr: 0x5000n,
      isLast: true,
      ...change,
    });
  const read = (count = 10) => {
    const bytes = queue.read(count * recordBytes);
    return Array.from({ length: bytes.length / recordBytes }, (_, index) =>
      iommuHwptPgfault.decodeAt(bytes, index * recordBytes),
    );
  };
  const write = (...records: [cookie: number, code: number][]) => {
    const bytes = records.map(([cookie, code]) => iommuHwptPageResponse.encode({ cookie, code }));
    return errnoOf(() => queue.write(new Uint8Array(Buffer.concat(bytes))));
  };
  const invalid = (grpid: number, pasid?: number) => ({ pasid, grpid, code: 'invalid' });
  return { ...world, answers, unit, device, faultId, queue, hwpt, ask, read, write, invalid };
}

describe('FAULT_QUEUE_ALLOC', () => {
  test('11.1 flags are EOPNOTSUPP; DESTROY is EBUSY while the file is open or an HWPT uses it', () => {
    const { iommufd, faultId, queue, hwpt } = setUp();
    expect(errnoOf(() => iommufd.faultQueueAlloc(1))).toBe('EOPNOTSUPP');
    expect(errnoOf(() => iommufd.destroy(faultId))).toBe('EBUSY');
    const hwptId = hwpt();
    queue.close();
    queue.close();
    expect(errnoOf(() => iommufd.destroy(faultId))).toBe('EBUSY');
    iommufd.destroy(hwptId);
    iommufd.destroy(faultId);
    expect(errnoOf(() => iommufd.destroy(faultId))).toBe('ENOENT');
    expect(errnoOf(() => queue.read(0))).toBe('EBADF');
    expect(errnoOf(() => queue.isReadable())).toBe('EBADF');
  });

  test('11.1 a device without page requests cannot be attached: ENODEV', () => {
    const { iommufd, hwpt, device } = setUp();
    const traits = { ...createTraits({ driver: 'mock', pageBytes: 2048, pasidBits: 3 }) };
    const accepting = { ...traits, accepts: () => true };
    const other = iommufd.bind(new SoftUnit({ traits: accepting }));
    const hwptId = hwpt();
    expect(errnoOf(() => other.attach(hwptId))).toBe('ENODEV');
    expect(errnoOf(() => other.attach(hwptId, 1))).toBe('ENODEV');
    expect(device.attach(hwptId)).toBe(hwptId);
  });
});

describe('requests', () => {
  test('11.1 whole groups in order, one cookie each, the last one marked', () => {
    const { ask, read, device, hwpt, queue, answers } = setUp();
    device.attach(hwpt());
    expect([queue.isReadable(), read().length]).toEqual([false, 0]);
    ask({ isLast: false, addr: 0x1000n });
    ask({ isLast: false, grpid: 2, addr: 0x9000n });
    ask({ isLast: false, addr: 0x2000n, perm: 3 });
    expect(queue.isReadable()).toBe(false);
    ask({ addr: 0x3000n });
    ask({ grpid: 2, addr: 0xa000n });
    const [first, second, third, fourth, fifth] = read();
    const common = { dev_id: device.id, pasid: 0, grpid: 1, length: 0, cookie: 1 };
    expect(first).toMatchObject({ ...common, flags: 0, addr: 0x1000n, perm: 1 });
    expect(second).toMatchObject({ ...common, flags: 0, addr: 0x2000n, perm: 3 });
    expect(third).toMatchObject({ ...common, flags: 2, addr: 0x3000n });
    expect([fourth?.cookie, fifth?.cookie, fifth?.flags]).toEqual([2, 2, 2]);
    expect([queue.isReadable(), answers]).toEqual([false, []]);
  });

  test('11.1 a read takes what fits: ESPIPE, EINVAL, then some', () => {
    const { ask, read, device, hwpt, queue } = setUp();
    device.attach(hwpt());
    expect(errnoOf(() => queue.read(39))).toBe('ESPIPE');
    expect(queue.read(0)).toEqual(new Uint8Array());
    ask({ isLast: false });
    ask();
    ask({ grpid: 2 });
    for (const bytes of [0, 40]) expect(errnoOf(() => queue.read(bytes))).toBe('EINVAL');
    expect(queue.read(80).length).toBe(80);
    expect(read(5).map(({ cookie, grpid }) => [cookie, grpid])).toEqual([[2, 2]]);
  });

  test('11.1 PASIDs: each to its own HWPT; else to a nested one of the device, or refused', () => {
    const { iommufd, ask, read, device, hwpt, answers, invalid, ioas } = withNesting();
    const fit = hwpt();
    device.attach(fit, 7);
    ask({ pasid: 7 });
    expect(read()).toMatchObject([{ flags: 3, pasid: 7, cookie: 1 }]);
    ask({ pasid: 8, grpid: 3 });
    ask({ grpid: 4 });
    expect(answers).toEqual([invalid(3, 8), invalid(4)]);
    device.attach(ioas.nested);
    ask({ pasid: 8, grpid: 5 });
    expect(read()).toMatchObject([{ flags: 3, pasid: 8, grpid: 5 }]);
    expect(iommufd.ioasAlloc()).toBeGreaterThan(0);
  });

  test('11.1 without a fault-capable HWPT every request is INVALID at once, also parts', () => {
    const { ask, device, hwpt, answers, queue, invalid } = setUp();
    ask();
    device.attach(hwpt(PASID));
    ask({ isLast: false });
    ask({ grpid: 2 });
    expect(answers).toEqual([invalid(1), invalid(1), invalid(2)]);
    expect(queue.isReadable()).toBe(false);
  });

  test('more than is kept is refused: groups that nobody reads, parts without an end', () => {
    const { ask, device, hwpt, answers, read } = setUp();
    device.attach(hwpt());
    for (let count = 0; count < 4096; count++) ask();
    expect(answers.length).toBe(0);
    ask();
    expect(answers.length).toBe(1);
    read(4096);
    for (let count = 0; count < 4096; count++) ask({ isLast: false, grpid: 9 });
    expect(answers.length).toBe(1);
    ask({ isLast: false, grpid: 9 });
    expect(answers.length).toBe(2);
    ask({ grpid: 9 });
    expect(read(4097).length).toBe(4097);
  });
});

function withNesting() {
  const world = setUp();
  const { iommufd, device, faultId } = world;
  const ioasId = iommufd.ioasAlloc();
  const devId = device.id;
  const parent = iommufd.hwptAlloc({ flags: NEST | PASID, devId, ptId: ioasId });
  const data = new Uint8Array(4);
  const flags = FAULT | PASID;
  const ask = { flags, devId, ptId: parent, dataType: mockDataType, data, faultId };
  return { ...world, ioas: { parent, nested: iommufd.hwptAlloc(ask) } };
}

describe('answers', () => {
  test('11.1 each cookie once; the lowest free one is next', () => {
    const { ask, read, write, device, hwpt, answers } = setUp();
    device.attach(hwpt());
    for (const grpid of [1, 2, 3]) ask({ grpid });
    // Not read: no cookie yet.
    expect(write([1, 0])).toBe('EINVAL');
    expect(read().map(({ cookie }) => cookie)).toEqual([1, 2, 3]);
    expect(write([2, 0])).toBe(8);
    expect(write([2, 0])).toBe('EINVAL');
    expect(answers).toEqual([{ pasid: undefined, grpid: 2, code: 'success' }]);
    ask({ grpid: 4 });
    expect(read()).toMatchObject([{ cookie: 2, grpid: 4 }]);
  });

  test('11.1 ESPIPE, EINVAL for the first record, else the bytes before a wrong one', () => {
    const { ask, read, write, device, hwpt, queue, answers } = setUp();
    device.attach(hwpt());
    expect(errnoOf(() => queue.write(new Uint8Array(7)))).toBe('ESPIPE');
    expect(queue.write(new Uint8Array())).toBe(0);
    for (const grpid of [1, 2]) ask({ grpid });
    read();
    expect(write([1, 2])).toBe('EINVAL');
    expect(write([0, 0])).toBe('EINVAL');
    expect(write([1, 1], [2, 7], [2, 0])).toBe(8);
    expect(answers).toEqual([{ pasid: undefined, grpid: 1, code: 'invalid' }]);
    expect(write([2, 0])).toBe(8);
  });
});

describe('the end of an attach answers INVALID', () => {
  const ends = {
    detach: ({ device }) => device.detach(),
    replace: ({ device, iommufd }) => device.attach(iommufd.ioasAlloc()),
    'replace by another of the same queue': ({ device, hwpt }) => device.attach(hwpt()),
    unbind: ({ device }) => device.close(),
  } satisfies Record<string, (world: ReturnType<typeof setUp>) => void>;

  for (const [name, end] of Object.entries(ends)) {
    test(`11.1 ${name}: delivered or not, and no cookie is left`, () => {
      const world = setUp();
      const { ask, read, write, device, hwpt, answers, queue, invalid } = world;
      device.attach(hwpt());
      ask();
      read();
      ask({ grpid: 2 });
      end(world);
      expect(answers).toEqual([invalid(2), invalid(1)]);
      expect([queue.isReadable(), write([1, 0])]).toEqual([false, 'EINVAL']);
    });
  }

  test('11.1 another PASID keeps what it asked for', () => {
    const { ask, read, device, hwpt, answers } = setUp();
    device.attach(hwpt(), 3);
    device.attach(hwpt(), 4);
    ask({ pasid: 3 });
    ask({ pasid: 4, grpid: 2 });
    device.detach(3);
    expect(answers).toEqual([{ pasid: 3, grpid: 1, code: 'invalid' }]);
    expect(read()).toMatchObject([{ pasid: 4 }]);
  });

  test('11.1 parts of a group are forgotten with the last fault-capable HWPT', () => {
    const { ask, read, device, hwpt } = setUp();
    const hwptId = hwpt();
    device.attach(hwptId);
    ask({ isLast: false });
    device.attach(hwpt());
    ask({ addr: 0x6000n });
    expect(read().length).toBe(2);
    ask({ isLast: false });
    device.detach();
    device.attach(hwptId);
    ask();
    expect(read().length).toBe(1);
  });

  test('11.1 closing the file answers nothing; the end of the attach does', () => {
    const { ask, read, device, hwpt, queue, answers, iommufd, faultId, invalid } = setUp();
    const hwptId = hwpt();
    device.attach(hwptId);
    ask();
    read();
    queue.close();
    ask({ grpid: 2 });
    expect(answers).toEqual([]);
    device.detach();
    expect(answers).toEqual([invalid(2), invalid(1)]);
    iommufd.destroy(hwptId);
    iommufd.destroy(faultId);
  });
});
