// The fake clock keeps the contract, and does what only a fake can.
import { describe, expect, it } from 'vitest';
import { clockContract } from './clock-contract.js';
import { FakeClock } from './fake-clock.js';

const shared = new FakeClock();
clockContract('fake', shared, (durationMs) => shared.pass(durationMs));

describe('the fake clock', () => {
  it('runs each timer at its own moment, those set meanwhile too', () => {
    const clock = new FakeClock(100);
    const seen: number[] = [];
    const again = (): void => {
      seen.push(clock.nowMs());
      if (seen.length < 4) clock.after(10, again);
    };
    clock.after(10, again);
    clock.advance(29);
    expect(seen).toEqual([110, 120]);
    expect(clock.nowMs()).toBe(129);
    expect(clock.pendingCount).toBe(1);
    clock.advance(100);
    expect(seen).toEqual([110, 120, 130, 140]);
    expect(clock.pendingCount).toBe(0);
  });

  it('stands still on its own', async () => {
    const clock = new FakeClock();
    let called = false;
    clock.after(0, () => (called = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(called).toBe(false);
    expect(clock.nowMs()).toBe(0);
    expect(() => clock.advance(-1)).toThrow('forward');
  });

  it('lets promises go on between timers', async () => {
    const clock = new FakeClock();
    const seen: string[] = [];
    clock.after(1, () => void Promise.resolve().then(() => clock.after(1, () => seen.push('two'))));
    clock.after(3, () => seen.push('three'));
    await clock.pass(5);
    expect(seen).toEqual(['two', 'three']);
  });
});
