import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { u64Max } from '../requests.js';
import { type Interval, IntervalIndex } from './interval-index.js';

/** As simple as it gets. */
class Model {
  readonly all: Interval[] = [];
  firstMeeting(start: bigint, last: bigint): Interval | undefined {
    const meeting = this.all.filter((each) => each.start <= last && each.last >= start);
    return meeting.reduce<Interval | undefined>(
      (lowest, each) => (lowest === undefined || each.start < lowest.start ? each : lowest),
      undefined,
    );
  }
}

const bound = fc.oneof(
  fc.bigInt({ min: 0n, max: 400n }),
  fc.bigInt({ min: u64Max - 40n, max: u64Max }),
  fc.constantFrom(0n, 1n << 47n, 1n << 48n, (1n << 63n) - 1n, u64Max),
);

describe('interval index', () => {
  test('agrees with a plain list', () => {
    const step = fc.record({ start: bound, lengthLess1: fc.bigInt({ min: 0n, max: 3n }) });
    const remove = fc.nat(500);
    fc.assert(
      fc.property(fc.array(fc.oneof(step, remove), { maxLength: 400 }), (steps) => {
        const index = new IntervalIndex<Interval>();
        const model = new Model();
        for (const each of steps) {
          if (typeof each === 'number') {
            const gone = model.all[each % Math.max(1, model.all.length)];
            if (gone === undefined) continue;
            model.all.splice(model.all.indexOf(gone), 1);
            expect(index.remove(gone.start)).toBe(true);
            expect(index.remove(gone.start)).toBe(false);
            continue;
          }
          const last = each.start + each.lengthLess1;
          const met = model.firstMeeting(each.start, last);
          expect(index.firstMeeting(each.start, last)).toBe(met);
          if (met !== undefined || last > u64Max) continue;
          const value = { start: each.start, last };
          model.all.push(value);
          index.insert(value);
        }
        const sorted = [...model.all].sort((a, b) => (a.start < b.start ? -1 : 1));
        expect([...index]).toEqual(sorted);
        expect(index.size).toBe(sorted.length);
      }),
      { numRuns: 100 },
    );
  });

  test('thousands in random order, then out again', () => {
    const index = new IntervalIndex<Interval>();
    const count = 5000n;
    // 2654435761 is odd, so that it visits every residue once.
    const starts = [];
    for (let i = 0n; i < count; i++) starts.push(((i * 2654435761n) % 8192n) * 2n);
    for (const start of starts) index.insert({ start, last: start });
    expect(index.size).toBe(5000);
    const found = (start: bigint) => index.firstMeeting(start, start)?.start === start;
    expect(starts.filter((start) => !found(start) || found(start + 1n))).toEqual([]);
    expect(starts.filter((start) => !index.remove(start))).toEqual([]);
    expect([...index]).toEqual([]);
    index.insert({ start: 0n, last: u64Max });
    expect(index.firstMeeting(u64Max, u64Max)?.start).toBe(0n);
  });
});
