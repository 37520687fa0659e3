import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntxPace } from './intx-pace.js';

const options = { perSecondMax: 1000, pauseMsMax: 64 };

describe('the pace of INTx', () => {
  it('lets a quiet line fire again without delay', () => {
    const pace = new IntxPace(options);
    expect(pace.delayMs(0)).toBe(0);
    pace.unmasked(0, false);
    expect(pace.delayMs(1)).toBe(0);
  });

  it('holds back what comes too often', () => {
    const pace = new IntxPace(options);
    pace.unmasked(10, false);
    expect(pace.delayMs(10.25)).toBe(0.75);
  });

  it('doubles the pause of a line that stays asserted, up to the longest', () => {
    const pace = new IntxPace(options);
    const pauses: number[] = [];
    let nowMs = 0;
    for (let time = 0; time < 9; time += 1) {
      pace.unmasked(nowMs, true);
      const delayMs = pace.delayMs(nowMs);
      pauses.push(delayMs);
      nowMs += delayMs;
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64]);
    pace.unmasked(nowMs, false);
    expect(pace.delayMs(nowMs + 1)).toBe(0);
  });

  it('never lets more than so many in a second through', () => {
    const fires = fc.array(
      fc.record({ restMs: fc.double({ min: 0, max: 3, noNaN: true }), asserted: fc.boolean() }),
    );
    fc.assert(
      fc.property(fires, fc.integer({ min: 1, max: 2000 }), (all, perSecondMax) => {
        const pace = new IntxPace({ perSecondMax, pauseMsMax: 64 });
        let nowMs = 0;
        let lastMs = Number.NEGATIVE_INFINITY;
        for (const { restMs, asserted } of all) {
          nowMs += restMs;
          nowMs += pace.delayMs(nowMs);
          expect(nowMs - lastMs).toBeGreaterThan(1000 / perSecondMax - 1e-6);
          lastMs = nowMs;
          pace.unmasked(nowMs, asserted);
        }
      }),
    );
  });
});
