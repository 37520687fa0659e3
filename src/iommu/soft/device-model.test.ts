// Random sequences of what changes objects and attachments, against a naive model: ids (I12),
// who refers to whom (I8, seen by DESTROY), and what each device reaches (I9).

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mapOne, sees } from '../testing/device-probe.js';
import { errnoOf } from '../testing/errno-of.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { SoftGroup } from './group.js';

const NEST = 1;
const FAULT = 4;
const PASID = 8;
/** 0 and 1 are one group, 2 is alone. */
const groupOf = [0, 0, 1] as const;
const keys = [undefined, 1, 2] as const;
type Key = (typeof keys)[number];

type Thing =
  | { readonly kind: 'ioas'; isMapped: boolean }
  | { readonly kind: 'device' }
  | { readonly kind: 'fault' }
  | {
      readonly kind: 'hwpt';
      readonly ioas: number;
      readonly parent: number | undefined;
      readonly isPasid: boolean;
      readonly isAuto: boolean;
      readonly isNestParent: boolean;
      readonly fault: number | undefined;
    };
type HwptThing = Extract<Thing, { kind: 'hwpt' }>;

interface Attached {
  readonly group: number;
  readonly key: Key;
  hwpt: number;
  readonly devices: Set<number>;
}

class Model {
  readonly things = new Map<number, Thing>();
  readonly deviceIds: number[] = [];
  attached: Attached[] = [];
  /** Auto HWPTs in the order in which they were made. */
  autos: number[] = [];

  add(thing: Thing): number {
    let id = 1;
    while (this.things.has(id)) id += 1;
    this.things.set(id, thing);
    return id;
  }

  /** How many others refer to it. */
  usersOf(id: number): number {
    let count = this.things.get(id)?.kind === 'device' ? 1 : 0;
    // The file of a fault queue stays open.
    if (this.things.get(id)?.kind === 'fault') count += 1;
    for (const thing of this.things.values()) {
      if (thing.kind !== 'hwpt') continue;
      const refers = thing.parent ?? thing.ioas;
      if (refers === id) count += 1;
      if (thing.fault === id) count += 1;
    }
    for (const { hwpt, devices } of this.attached) if (hwpt === id) count += devices.size;
    return count;
  }

  slot(device: number, key: Key): Attached | undefined {
    return this.attached.find((each) => each.group === groupOf[device] && each.key === key);
  }

  hwpt(id: number): HwptThing {
    return this.things.get(id) as HwptThing;
  }

  attach(device: number, ptId: number, key: Key): number | string {
    const thing = this.things.get(ptId);
    if (thing === undefined) return 'ENOENT';
    if (thing.kind === 'hwpt') return this.#attachTo(device, ptId, thing, key) ?? ptId;
    if (thing.kind !== 'ioas') return 'EINVAL';
    for (const id of this.autos) {
      if (this.hwpt(id).ioas !== ptId) continue;
      if (this.#attachTo(device, id, this.hwpt(id), key) === undefined) return id;
    }
    const fresh = { isPasid: false, isAuto: true, isNestParent: false } as const;
    const auto = { kind: 'hwpt', ioas: ptId, parent: undefined, fault: undefined } as const;
    const made: HwptThing = { ...fresh, ...auto };
    const id = this.add(made);
    const errno = this.#attachTo(device, id, made, key);
    if (errno !== undefined) {
      this.things.delete(id);
      return errno;
    }
    this.autos.push(id);
    return id;
  }

  detach(device: number, key: Key): void {
    const slot = this.slot(device, key);
    if (!slot?.devices.delete(device)) return;
    if (slot.devices.size === 0) this.attached.splice(this.attached.indexOf(slot), 1);
    this.#drop(slot.hwpt);
  }

  sees(device: number, key: Key): string {
    const slot = this.slot(device, key);
    const hwpt = slot === undefined ? undefined : this.hwpt(slot.hwpt);
    if (hwpt === undefined || hwpt.parent !== undefined) return 'not attached';
    const ioas = this.things.get(hwpt.ioas);
    return ioas?.kind === 'ioas' && ioas.isMapped ? 'mapped' : 'not mapped';
  }

  #attachTo(device: number, id: number, hwpt: HwptThing, key: Key): string | undefined {
    const slot = this.slot(device, key);
    const isReplace = slot?.devices.has(device) === true;
    if (slot?.hwpt === id) {
      slot.devices.add(device);
      return undefined;
    }
    if (slot !== undefined && !isReplace) return 'EINVAL';
    const others = this.attached.filter(({ group }) => group === groupOf[device]);
    const plain = others.find((each) => each.key === undefined);
    if (key === undefined && !hwpt.isPasid && others.some((each) => each.key !== undefined)) {
      return 'EINVAL';
    }
    if (key !== undefined && (!hwpt.isPasid || (plain && !this.hwpt(plain.hwpt).isPasid))) {
      return 'EINVAL';
    }
    if (slot === undefined) {
      const group = groupOf[device]!;
      this.attached.push({ group, key, hwpt: id, devices: new Set([device]) });
    } else {
      const old = slot.hwpt;
      slot.hwpt = id;
      this.#drop(old);
    }
    return undefined;
  }

  #drop(id: number): void {
    if (!this.hwpt(id).isAuto || this.usersOf(id) > 0) return;
    this.things.delete(id);
    this.autos = this.autos.filter((each) => each !== id);
  }
}

function setUp() {
  const world = createSoftWorld();
  const groups = [new SoftGroup(), new SoftGroup()];
  const units = groupOf.map((group) =>
    world.createUnit({
      group: groups[group]!,
      hwptFlags: NEST | PASID,
      hasPageRequests: true,
      nest: () => ({}),
    }),
  );
  const devices = units.map((unit) => world.iommufd.bind(unit));
  const model = new Model();
  for (const _ of devices) model.deviceIds.push(model.add({ kind: 'device' }));
  return { model, real: { ...world, units, devices } };
}

type Real = ReturnType<typeof setUp>['real'];
type Step = fc.Command<Model, Real>;

function step(name: string, run: (model: Model, real: Real) => void): Step {
  return {
    check: () => true,
    run(model, real) {
      run(model, real);
      for (const [device, unit] of real.units.entries()) {
        for (const key of keys) expect(sees(real, unit, 0, key)).toBe(model.sees(device, key));
      }
    },
    toString: () => name,
  };
}

const id = fc.integer({ min: 3, max: 11 });
const device = fc.nat({ max: 2 });
const key = fc.constantFrom(...keys);

const ioasStep = step('ioas', (model, { iommufd }) => {
  expect(iommufd.ioasAlloc()).toBe(model.add({ kind: 'ioas', isMapped: false }));
});

const faultStep = step('fault', (model, { iommufd }) => {
  expect(iommufd.faultQueueAlloc().faultId).toBe(model.add({ kind: 'fault' }));
});

const mapStep = (ioasId: number) =>
  step(`map ${ioasId}`, (model, real) => {
    const ioas = model.things.get(ioasId);
    if (ioas?.kind !== 'ioas') return;
    if (ioas.isMapped) real.iommufd.ioasUnmap({ ioasId, iova: 0n, length: 4096n });
    else mapOne(real, ioasId);
    ioas.isMapped = !ioas.isMapped;
  });

const hwptStep = (flags: number, by: number, ptId: number, faultId: number) =>
  step(`hwpt ${flags} ${ptId} ${faultId}`, (model, { iommufd }) => {
    const pt = model.things.get(ptId);
    const devId = model.deviceIds[by]!;
    const data = pt?.kind === 'hwpt' ? { dataType: 1, data: new Uint8Array(1) } : {};
    const given = errnoOf(() => iommufd.hwptAlloc({ flags, devId, ptId, faultId, ...data }));
    expect(given).toBe(allocate(model, pt, flags, ptId, faultId));
  });

function allocate(
  model: Model,
  pt: Thing | undefined,
  flags: number,
  ptId: number,
  faultId: number,
): number | string {
  if (pt?.kind !== 'ioas' && pt?.kind !== 'hwpt') return 'EINVAL';
  const isNestParent = (flags & NEST) !== 0;
  const hasFault = (flags & FAULT) !== 0;
  if (pt.kind === 'hwpt') {
    // No nesting on nesting.
    if (pt.parent !== undefined) return 'EINVAL';
    if (isNestParent) return 'EOPNOTSUPP';
    if (!pt.isNestParent) return 'EINVAL';
  } else if (isNestParent && hasFault) return 'EOPNOTSUPP';
  if (hasFault && model.things.get(faultId)?.kind !== 'fault') return 'ENOENT';
  return model.add({
    kind: 'hwpt',
    ioas: pt.kind === 'ioas' ? ptId : pt.ioas,
    parent: pt.kind === 'hwpt' ? ptId : undefined,
    isPasid: (flags & PASID) !== 0,
    isAuto: false,
    isNestParent,
    fault: hasFault ? faultId : undefined,
  });
}

const attachStep = (by: number, ptId: number, slot: Key) =>
  step(`attach ${by} ${ptId} ${slot}`, (model, { devices }) => {
    const given = errnoOf(() => devices[by]!.attach(ptId, slot));
    expect(given).toBe(model.attach(by, ptId, slot));
  });

const detachStep = (by: number, slot: Key) =>
  step(`detach ${by} ${slot}`, (model, { devices }) => {
    devices[by]!.detach(slot);
    model.detach(by, slot);
  });

const destroyStep = (which: number) =>
  step(`destroy ${which}`, (model, { iommufd }) => {
    let expected: string | undefined;
    if (!model.things.has(which)) expected = 'ENOENT';
    else if (model.usersOf(which) > 0) expected = 'EBUSY';
    else model.things.delete(which);
    expect(errnoOf(() => iommufd.destroy(which))).toBe(expected);
  });

test('I8 I9 I12 over random calls, and nothing is left at the end', () => {
  const flags = fc.constantFrom(0, 0, PASID, PASID, NEST, NEST | PASID, FAULT, FAULT | PASID, 5);
  const attach = fc.tuple(device, id, key).map((all) => attachStep(...all));
  const steps = [
    fc.constant(ioasStep),
    fc.constant(faultStep),
    id.map(mapStep),
    fc.tuple(flags, device, id, id).map((all) => hwptStep(...all)),
    fc.tuple(flags, device, id, id).map((all) => hwptStep(...all)),
    attach,
    attach,
    attach,
    fc.tuple(device, key).map((all) => detachStep(...all)),
    id.map(destroyStep),
  ];
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 80, size: 'max' }), (commands) => {
      const { model, real } = setUp();
      fc.modelRun(() => ({ model, real }), commands);
      real.iommufd[Symbol.dispose]();
      expect([real.pool.usedCount, real.extents.count]).toEqual([0, 0]);
      for (const unit of real.units) expect(sees(real, unit)).toBe('not attached');
    }),
    { numRuns: 60 },
  );
}, 60_000);
