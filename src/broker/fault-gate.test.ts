import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FaultGate, type FaultReport } from './fault-gate.js';

const fromDevice: FaultReport = { source: 'driver', iova: 0x1234, access: 'write' };
/** The same one, as an IOMMU tells it. */
const fromIommu: FaultReport = { source: 'function', iova: 0x1000, access: 'write' };

describe('two reports', () => {
  it('of one fault are told once, whoever comes first', () => {
    expect(tell(fromDevice, fromIommu)).toEqual(['tell', 'same']);
    expect(tell(fromIommu, fromDevice)).toEqual(['tell', 'same']);
  });

  it('of the same source are two faults', () => {
    expect(tell(fromDevice, fromDevice)).toEqual(['tell', 'tell']);
    expect(tell(fromIommu, fromIommu)).toEqual(['tell', 'tell']);
  });

  it('pair one by one', () => {
    const verdicts = tell(fromIommu, fromIommu, fromDevice, fromDevice, fromDevice);
    expect(verdicts).toEqual(['tell', 'tell', 'same', 'same', 'tell']);
  });

  it.each([
    ['another page', { ...fromIommu, iova: 0x2000 }],
    ['the other direction', { ...fromIommu, access: 'read' as const }],
  ])('of %s are two faults', (_name, other) => {
    expect(tell(fromDevice, other)).toEqual(['tell', 'tell']);
  });

  it('that are long apart are two faults', () => {
    const gate = new FaultGate(10);
    gate.judge(fromDevice, 0);
    expect(gate.judge(fromIommu, 1001)).toBe('tell');
  });
});

describe('a flood', () => {
  it('is told up to the limit in a second, and again in the next', () => {
    const gate = new FaultGate(3);
    const at = (nowMs: number) => gate.judge(fromIommu, nowMs);
    expect([at(0), at(1), at(2), at(3), at(999)]).toEqual([
      'tell',
      'tell',
      'tell',
      'too many',
      'too many',
    ]);
    expect(at(1000)).toBe('tell');
  });

  it('of any kind passes no more than twice the limit in any second', () => {
    const report = fc.record({
      restMs: fc.integer({ min: 0, max: 400 }),
      source: fc.constantFrom('driver' as const, 'function' as const),
      iova: fc.integer({ min: 0, max: 0x4000 }),
      access: fc.constantFrom('read' as const, 'write' as const),
    });
    fc.assert(
      fc.property(fc.array(report, { maxLength: 200 }), (reports) => {
        const gate = new FaultGate(5);
        const told: number[] = [];
        let nowMs = 0;
        for (const { restMs, ...each } of reports) {
          nowMs += restMs;
          if (gate.judge(each, nowMs) === 'tell') told.push(nowMs);
          expect(told.filter((atMs) => nowMs - atMs < 1000).length).toBeLessThanOrEqual(10);
        }
      }),
    );
  });
});

function tell(...reports: readonly FaultReport[]) {
  const gate = new FaultGate(10);
  return reports.map((report, at) => gate.judge(report, at));
}
