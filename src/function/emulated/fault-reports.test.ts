// The fault ring from both ends, over one control block, with time in the test's hand.
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../base/clock.js';
import type { DmaFault, FunctionEvent } from '../types.js';
import { createControlBlock, faultRecordCount, isAtOrAfter, word } from './control-block.js';
import { FaultReports } from './fault-reports.js';
import { pushFault, takeDroppedCount, takeFault } from './fault-ring.js';

function fault(iova: number, pasid: number | undefined = 1): DmaFault {
  return { pasid, iova, access: 'write', reason: 'not mapped' };
}

function controlBlock() {
  return createControlBlock({ frameCount: 0, vectorCount: 0 });
}

class StepClock implements Clock {
  now = 0;
  due: { atMs: number; callback: () => void }[] = [];
  nowMs(): number {
    return this.now;
  }
  wallMs(): number {
    return this.now;
  }
  after(delayMs: number, callback: () => void): Disposable {
    const entry = { atMs: this.now + delayMs, callback };
    this.due.push(entry);
    return {
      [Symbol.dispose]: () => {
        this.due = this.due.filter((other) => other !== entry);
      },
    };
  }
  advance(ms: number): void {
    this.now += ms;
    const ready = this.due.filter((entry) => entry.atMs <= this.now);
    this.due = this.due.filter((entry) => entry.atMs > this.now);
    for (const entry of ready) entry.callback();
  }
}

describe('fault ring', () => {
  it.each([
    fault(0),
    fault(2 ** 48 - 1),
    fault(0xffff_f000, undefined),
    fault(2 ** 31, 0xf_ffff),
    { pasid: 7, iova: 4096, access: 'read', reason: 'memory gone' } as const,
  ])('returns what was put in: %o', (given) => {
    const control = controlBlock();
    expect(pushFault(control, given)).toBe(true);
    expect(takeFault(control)).toEqual(given);
    expect(takeFault(control)).toBeUndefined();
  });

  it('holds its number of reports, and counts the ones past it', () => {
    const control = controlBlock();
    for (let index = 0; index < faultRecordCount; index += 1) {
      expect(pushFault(control, fault(index))).toBe(true);
    }
    expect(takeDroppedCount(control)).toBe(0);
    expect(pushFault(control, fault(9999))).toBe(false);
    expect(takeDroppedCount(control)).toBe(1);
    expect(takeFault(control)).toEqual(fault(0));
    expect(pushFault(control, fault(5000))).toBe(true);
    for (let index = 1; index < faultRecordCount; index += 1) {
      expect(takeFault(control)).toEqual(fault(index));
    }
    expect(takeFault(control)).toEqual(fault(5000));
    expect(takeFault(control)).toBeUndefined();
  });

  it('goes on when its sequence wraps', () => {
    const control = controlBlock();
    control.words[word.faultHead] = -2;
    control.words[word.faultTail] = -2;
    for (let index = 0; index < 5; index += 1) pushFault(control, fault(index));
    for (let index = 0; index < 5; index += 1) expect(takeFault(control)).toEqual(fault(index));
    expect(isAtOrAfter(-0x8000_0000, 0x7fff_ffff)).toBe(true);
    expect(isAtOrAfter(0x7fff_ffff, -0x8000_0000)).toBe(false);
  });
});

describe('fault reports', () => {
  it('come at once, then at a pace, with what was dropped at most once a second', () => {
    const control = controlBlock();
    const clock = new StepClock();
    const events: FunctionEvent[] = [];
    using reports = new FaultReports(control, clock, (event) => events.push(event));
    const storm = (): void => {
      for (let index = 0; index < 300; index += 1) pushFault(control, fault(index));
      reports.take();
    };
    pushFault(control, fault(1));
    reports.take();
    expect(events).toEqual([{ type: 'fault', fault: fault(1) }]);
    storm();
    storm();
    expect(events).toHaveLength(1);
    clock.advance(10);
    expect(events).toHaveLength(1 + 256 + 1);
    expect(events.at(-1)).toEqual({ type: 'error', detail: '344 fault reports were dropped' });
    storm();
    clock.advance(10);
    expect(events).toHaveLength(1 + 256 + 1 + 256);
    clock.advance(1000);
    storm();
    expect(events.at(-1)).toEqual({ type: 'error', detail: '88 fault reports were dropped' });
    expect(clock.due).toEqual([]);
  });

  it('stop with their function', () => {
    const control = controlBlock();
    const clock = new StepClock();
    const events: FunctionEvent[] = [];
    const reports = new FaultReports(control, clock, (event) => events.push(event));
    pushFault(control, fault(1));
    reports.take();
    pushFault(control, fault(2));
    reports.take();
    reports[Symbol.dispose]();
    clock.advance(100);
    expect(events).toHaveLength(1);
  });
});
