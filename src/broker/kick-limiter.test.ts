import { expect, test } from 'vitest';
import { FakeClock } from '../os/testing/fake-clock.js';
import { KickLimiter } from './kick-limiter.js';

const perSecond = 100;
/** What may come at once: a twentieth of a second's. */
const burst = 5;

function setUp() {
  const clock = new FakeClock();
  const limiter = new KickLimiter(clock, perSecond);
  const counted = { kicks: 0 };
  const run = (times: number): void => {
    for (let time = 0; time < times; time += 1) limiter.run(() => (counted.kicks += 1));
  };
  return { clock, limiter, counted, run };
}

test('a burst passes at once; one past it comes late, and many late ones are one', () => {
  const { clock, counted, run } = setUp();
  run(burst);
  expect(counted.kicks).toBe(burst);
  run(1000);
  expect(counted.kicks).toBe(burst);
  clock.advance(9);
  expect(counted.kicks).toBe(burst);
  clock.advance(1);
  expect(counted.kicks).toBe(burst + 1);
  clock.advance(10_000);
  expect(counted.kicks).toBe(burst + 1);
});

test('a long rest earns no more than a burst', () => {
  const { clock, counted, run } = setUp();
  clock.advance(3_600_000);
  run(50);
  expect(counted.kicks).toBe(burst);
});

test('a steady flood passes at its rate', () => {
  const { clock, counted, run } = setUp();
  for (let ms = 0; ms < 10_000; ms += 1) {
    run(10);
    clock.advance(1);
  }
  expect(counted.kicks).toBeLessThanOrEqual(2 * 10 * perSecond + burst);
  expect(counted.kicks).toBeGreaterThanOrEqual(10 * perSecond);
});

test('disposing forgets what is late', () => {
  const { clock, limiter, counted, run } = setUp();
  run(burst + 1);
  limiter[Symbol.dispose]();
  clock.advance(1000);
  expect(counted.kicks).toBe(burst);
  expect(clock.pendingCount).toBe(0);
});
