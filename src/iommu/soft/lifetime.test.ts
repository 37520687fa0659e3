// DESTROY by kind of object, and the end of a context in any order of closing.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { createMockTraits, mockDataType } from '../testing/mock-traits.js';
import { createSoftWorld } from '../testing/soft-world.js';
import type { PageResponse } from './fault-object.js';
import { SoftUnit } from './soft-unit.js';

const NEST = 1;
const FAULT = 4;
const PASID = 8;
const base = 2n ** 24n;

/** One of each kind of object, all in use. */
function setUp() {
  const world = createSoftWorld();
  const { iommufd } = world;
  const answers: PageResponse[] = [];
  const onPageResponse = (response: PageResponse) => void answers.push(response);
  const unit = new SoftUnit({ traits: createMockTraits(), onPageResponse });
  const ioasId = iommufd.ioasAlloc();
  mapOne(world, ioasId, base);
  const device = iommufd.bind(unit);
  const { faultId, queue } = iommufd.faultQueueAlloc();
  const ask = { devId: device.id, ptId: ioasId, faultId };
  const parent = iommufd.hwptAlloc({ ...ask, flags: NEST | PASID });
  const data = new Uint8Array(4);
  const flags = PASID | FAULT;
  const inner = { ...ask, ptId: parent, dataType: mockDataType, data };
  const nested = iommufd.hwptAlloc({ ...inner, flags });
  device.attach(nested);
  device.attach(parent, 5);
  unit.requestPage({ pasid: undefined, grpid: 1, perm: 1, addr: 0n, isLast: true });
  return { ...world, unit, device, ioasId, faultId, queue, parent, nested, answers };
}

const idle = ({ pool, extents }: ReturnType<typeof setUp>) => [pool.usedCount, extents.count];

describe('DESTROY', () => {
  test('DES1 DES2 DES5 every kind is EBUSY while another refers to it, and ENOENT afterwards', () => {
    const { iommufd, device, queue, ioasId, faultId, parent, nested } = setUp();
    const errno = (id: number) => errnoOf(() => iommufd.destroy(id));
    for (const id of [0, 99, 2 ** 31]) expect(errno(id)).toBe('ENOENT');
    const all = [ioasId, faultId, parent, nested, device.id];
    expect(all.map(errno)).toEqual(['EBUSY', 'EBUSY', 'EBUSY', 'EBUSY', 'EBUSY']);
    device.detach();
    expect([errno(nested), errno(nested)]).toEqual([undefined, 'ENOENT']);
    expect([errno(faultId), errno(parent)]).toEqual(['EBUSY', 'EBUSY']);
    queue.close();
    expect([errno(faultId), errno(faultId)]).toEqual([undefined, 'ENOENT']);
    // P9, and O4.
    device.close();
    expect([errno(device.id), errno(parent), errno(ioasId)]).toEqual([
      'ENOENT',
      undefined,
      undefined,
    ]);
    expect([iommufd.ioasAlloc(), iommufd.ioasAlloc()]).toEqual([1, 2]);
  });
});

describe('the end of a context', () => {
  test('L1 closing its file ends nothing that a device uses', () => {
    const world = setUp();
    world.iommufd.close();
    expect(sees(world, world.unit, Number(base), 5)).toBe('mapped');
    world.queue.close();
    expect(sees(world, world.unit, Number(base), 5)).toBe('mapped');
    world.device.close();
    expect([sees(world, world.unit, Number(base), 5), idle(world)]).toEqual([
      'not attached',
      [0, 0],
    ]);
  });

  test('L1 a device that stands for no file of its own ends with the context', () => {
    const world = createSoftWorld();
    const unit = world.createUnit();
    const object = world.iommufd.reserveObject();
    const device = world.iommufd.bind(unit, false);
    const ioasId = world.iommufd.ioasAlloc();
    mapOne(world, ioasId);
    device.attach(ioasId);
    object.publish(() => device.close());
    const { queue } = world.iommufd.faultQueueAlloc();
    world.iommufd.close();
    expect(sees(world, unit)).toBe('mapped');
    queue.close();
    expect([sees(world, unit), world.pool.usedCount, world.extents.count]).toEqual([
      'not attached',
      0,
      0,
    ]);
    expect(unit.device).toBe(undefined);
  });

  test('L2 whatever is closed first: nothing is left, and the device has its answer once', () => {
    const names = ['file', 'queue', 'device'] as const;
    const orders = fc.shuffledSubarray([...names], { minLength: 3 });
    fc.assert(
      fc.property(orders, (order) => {
        const world = setUp();
        const closers = { file: world.iommufd, queue: world.queue, device: world.device };
        for (const [index, name] of order.entries()) {
          closers[name].close();
          const isLast = index === order.length - 1;
          expect(idle(world)[1]).toBe(isLast ? 0 : 1);
        }
        expect(world.answers.map(({ code }) => code)).toEqual(['invalid']);
        expect([idle(world), world.memory.openCount]).toEqual([[0, 0], 1]);
      }),
    );
  });

  test('L2 the end of the process closes all at once, also twice', () => {
    const world = setUp();
    world.iommufd[Symbol.dispose]();
    expect([idle(world), world.answers.length]).toEqual([[0, 0], 1]);
    world.iommufd[Symbol.dispose]();
    world.device.close();
    world.queue.close();
    expect(errnoOf(() => world.iommufd.destroy(world.parent))).toBe('ENOENT');
  });
});
