import { describe, expect, it } from 'vitest';
import type { Isolation } from '../base/labels.js';
import { limits } from '../base/limits.js';
import { silentLogger } from '../base/log.js';
import type { DmaFault } from '../function/types.js';
import type { Access } from '../iommu/types.js';
import { FakeClock } from '../os/testing/fake-clock.js';
import type { EventDetails } from './event-hub.js';
import { FaultDesk, type FaultyLease } from './fault-desk.js';

class FakeLease implements FaultyLease {
  readonly terms: FaultyLease['terms'];
  readonly events: EventDetails[] = [];
  mapped: Access | undefined;
  readonly resources = { accessAt: () => this.mapped };

  constructor(name: string, base: number, pasid?: number, isolation: Isolation = 'device-bounds') {
    const iovaWindow = { base, lengthBytes: 0x10_0000 };
    this.terms = { id: name, slice: { name }, pasid, iovaWindow, isolation };
  }

  publish(details: EventDetails): void {
    this.events.push(details);
  }
}

function setUp(...leases: FakeLease[]) {
  const clock = new FakeClock();
  const events: EventDetails[] = [];
  const desk = new FaultDesk({
    clock,
    log: silentLogger,
    leases: () => leases,
    publish: (details) => events.push(details),
  });
  return { clock, desk, events, leases };
}

function fault(iova: number, pasid?: number): DmaFault {
  return { iova, pasid, access: 'write', reason: 'not mapped' };
}

function told({ events }: { readonly events: readonly EventDetails[] }): (number | undefined)[] {
  return events.map((event) => event.fault?.iova);
}

describe('a fault that the function saw', () => {
  it('is the lease with its PASID', () => {
    const first = new FakeLease('a', 0x1_0000, 1);
    const second = new FakeLease('b', 0x1_0000, 2);
    const { desk, events } = setUp(first, second);
    desk.fromFunction(fault(0x1_1000, 2));
    desk.fromFunction(fault(0x1_2000, 3));
    desk.fromFunction(fault(0x1_3000));
    expect([told(first), told(second)]).toEqual([[], [0x1_1000]]);
    expect(told({ events })).toEqual([0x1_2000, 0x1_3000]);
  });

  it('is the lease in whose IOVA window it lies, else the function', () => {
    const first = new FakeLease('a', 0x10_0000);
    const second = new FakeLease('b', 0x20_0000);
    const { desk, events } = setUp(first, second);
    desk.fromFunction(fault(0x1f_f000));
    desk.fromFunction(fault(0x20_0000));
    desk.fromFunction(fault(0x30_0000));
    desk.fromFunction(fault(0xf_f000));
    expect([told(first), told(second)]).toEqual([[0x1f_f000], [0x20_0000]]);
    expect(told({ events })).toEqual([0x30_0000, 0xf_f000]);
  });

  it('is the only lease that has the function for itself, wherever it lies', () => {
    const lease = new FakeLease('a', 0x10_0000, undefined, 'exclusive');
    const { desk } = setUp(lease);
    desk.fromFunction(fault(0xfff_f000));
    expect(lease.events).toEqual([
      {
        type: 'fault',
        fault: { iova: 0xfff_f000, access: 'write', reason: 'not mapped' },
      },
    ]);
  });

  it.each([
    { mapped: 'read', reason: 'no permission' },
    { mapped: 'read-write', reason: 'not mapped' },
    { mapped: 'write', reason: 'not mapped' },
    { mapped: undefined, reason: 'not mapped' },
  ] as const)('where $mapped is mapped: $reason', ({ mapped, reason }) => {
    const lease = new FakeLease('a', 0x10_0000);
    lease.mapped = mapped;
    const { desk } = setUp(lease);
    desk.fromFunction(fault(0x10_0000));
    expect(lease.events[0]?.fault?.reason).toBe(reason);
  });
});

describe('a fault that the driver saw', () => {
  const seen = { iova: 0x10_0010, access: 'write', reason: 'out of bounds' } as const;

  it('is the lease of its slice, else the slice', () => {
    const lease = new FakeLease('a', 0x10_0000);
    const { desk, events } = setUp(lease);
    desk.fromDriver('a', seen);
    desk.fromDriver('b', seen);
    expect(lease.events).toEqual([{ type: 'fault', fault: seen }]);
    expect(events).toEqual([{ type: 'fault', slice: 'b', fault: seen }]);
  });

  it('and the function too is told once', () => {
    const lease = new FakeLease('a', 0x10_0000);
    const { desk } = setUp(lease);
    desk.fromDriver('a', { ...seen, reason: 'not mapped' });
    desk.fromFunction(fault(0x10_0000));
    expect(told(lease)).toEqual([seen.iova]);
  });
});

describe('faults without end', () => {
  const most = limits.faultsPerSecondMax;
  const floodCount = 20_000;

  function flood(desk: FaultDesk): void {
    for (let count = 0; count < floodCount; count += 1) desk.fromFunction(fault(0x10_0000));
  }

  it('are told up to the limit, and then by their number', () => {
    const lease = new FakeLease('a', 0x10_0000);
    const { desk, clock } = setUp(lease);
    flood(desk);
    expect(lease.events).toHaveLength(most);
    clock.advance(1000);
    expect(lease.events).toHaveLength(most + 1);
    expect(lease.events.at(-1)).toMatchObject({
      type: 'fault',
      fault: { iova: 0x10_0000 },
      outcome: `one of ${floodCount - most} that were too many to tell`,
    });
    desk.fromFunction(fault(0x10_0000));
    expect(lease.events).toHaveLength(most + 2);
  });

  it('of one lease hide none of another', () => {
    const lease = new FakeLease('a', 0x10_0000);
    const other = new FakeLease('b', 0x20_0000);
    const { desk } = setUp(lease, other);
    flood(desk);
    desk.fromFunction(fault(0x20_0000));
    expect(told(other)).toEqual([0x20_0000]);
  });

  it('of a lease that has ended are summed up elsewhere, and nothing is left at the end', () => {
    const lease = new FakeLease('a', 0x10_0000);
    const { desk, clock, events, leases } = setUp(lease);
    flood(desk);
    leases.pop();
    clock.advance(1000);
    expect([lease.events.length, events.length]).toEqual([most, 1]);
    flood(desk);
    desk[Symbol.dispose]();
    expect(clock.pendingCount).toBe(0);
  });
});
