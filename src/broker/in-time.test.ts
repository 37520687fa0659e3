import { expect, test } from 'vitest';
import { FakeClock } from '../os/testing/fake-clock.js';
import { inTime } from './in-time.js';

test('what is done in time is told, and the timer is gone', async () => {
  const clock = new FakeClock();
  expect(await inTime(clock, 10, async () => 7)).toEqual({ type: 'done', value: 7 });
  expect(clock.pendingCount).toBe(0);
});

test('a failure is told, a synchronous one too', async () => {
  const clock = new FakeClock();
  const error = new TypeError('no');
  const rejecting = inTime(clock, 10, () => Promise.reject(error));
  expect(await rejecting).toEqual({ type: 'failed', error });
  const throwing = inTime(clock, 10, () => {
    throw error;
  });
  expect(await throwing).toEqual({ type: 'failed', error });
  expect(clock.pendingCount).toBe(0);
});

test('at the deadline the signal aborts, and what comes later is nobody’s', async () => {
  const clock = new FakeClock();
  let signal: AbortSignal | undefined;
  let fail: (error: unknown) => void = () => undefined;
  const result = inTime(clock, 10, (given) => {
    signal = given;
    return new Promise((_, reject) => {
      fail = reject;
    });
  });
  await Promise.resolve();
  clock.advance(9);
  await Promise.resolve();
  expect(signal?.aborted).toBe(false);
  clock.advance(1);
  expect(await result).toEqual({ type: 'timeout' });
  expect(signal?.aborted).toBe(true);
  fail(new TypeError('too late'));
});
