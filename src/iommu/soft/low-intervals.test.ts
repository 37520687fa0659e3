import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LowInterval, LowIntervals } from './low-intervals.js';

const top = 2 ** 53;

/** As simple as it gets. */
class Model {
  all: LowInterval[] = [];
  firstMeeting(at: number, end: number): LowInterval | undefined {
    const meeting = this.all.filter((each) => each.at < end && each.end > at);
    return meeting.sort((one, other) => one.at - other.at)[0];
  }
}

const bound = fc.oneof(
  fc.nat(400),
  fc.integer({ min: top - 40, max: top - 1 }),
  fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 47, 2 ** 48, top - 1),
);
const put = fc.record({ at: bound, length: fc.integer({ min: 1, max: 4 }) });

describe('low intervals', () => {
  test('agree with a plain list', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(put, fc.nat(500)), { maxLength: 400 }), (steps) => {
        const index = new LowIntervals<LowInterval>();
        const model = new Model();
        for (const each of steps) {
          if (typeof each === 'number') {
            const gone = model.all[each % Math.max(1, model.all.length)];
            if (gone === undefined) continue;
            model.all = model.all.filter((other) => other !== gone);
            // Only with both of its ends.
            expect(index.take(gone.at, gone.end - 1)).toBe(undefined);
            expect(index.take(gone.at - 1, gone.end)).toBe(undefined);
            expect(index.take(gone.at, gone.end)).toBe(gone);
            expect(index.take(gone.at, gone.end)).toBe(undefined);
            continue;
          }
          const end = each.at + each.length;
          const met = model.firstMeeting(each.at, end);
          expect(index.firstMeeting(each.at, end)).toBe(met);
          expect(index.isFree(each.at, end)).toBe(met === undefined);
          if (met !== undefined || end > top) continue;
          const value = { at: each.at, end };
          model.all.push(value);
          index.insert(value);
        }
        const sorted = model.all.sort((one, other) => one.at - other.at);
        expect([...index]).toEqual(sorted);
        expect(index.size).toBe(sorted.length);
      }),
      { numRuns: 100 },
    );
  });

  test.each(['ascending', 'descending', 'scattered'])('thousands %s, then out again', (order) => {
    const index = new LowIntervals<LowInterval>();
    const count = 6000;
    // 2654435761 is odd, so that it visits every residue once.
    const numbers = Array.from({ length: count }, (_, i) =>
      order === 'scattered' ? (i * 2654435761) % 8192 : order === 'ascending' ? i : count - i,
    );
    const unit = 2 ** 36;
    const values = numbers.map((number) => ({ at: number * unit, end: number * unit + unit / 2 }));
    const fill = () => {
      for (const value of values) index.insert(value);
      expect(index.size).toBe(count);
      const found = ({ at, end }: LowInterval) => index.firstMeeting(at, at + 1)?.end === end;
      expect(values.filter((value) => !found(value) || index.isFree(value.at, value.end))).toEqual(
        [],
      );
      expect(values.filter(({ end }) => !index.isFree(end, end + unit / 2))).toEqual([]);
    };
    fill();
    expect(values.filter(({ at, end }) => index.take(at, end) === undefined)).toEqual([]);
    expect([...index]).toEqual([]);
    // Buckets that were given up serve again.
    fill();
    for (const { at, end } of values.toReversed()) index.take(at, end);
    index.insert({ at: 0, end: top });
    expect(index.firstMeeting(top - 1, top)?.at).toBe(0);
    expect(index.isFree(top - 1, top)).toBe(false);
  });
});
