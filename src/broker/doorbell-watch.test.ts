import { expect, test } from 'vitest';
import { FakeClock } from '../os/testing/fake-clock.js';
import { DoorbellWatch } from './doorbell-watch.js';

test('looks once a period while it is on, and no more when the lease is over', () => {
  const clock = new FakeClock();
  let looks = 0;
  let isLive = true;
  const watch = new DoorbellWatch(clock, 4, () => {
    looks += 1;
    return isLive;
  });
  clock.advance(40);
  expect(looks).toBe(0);
  watch.set(true);
  watch.set(true);
  clock.advance(40);
  expect(looks).toBe(10);
  watch.set(false);
  clock.advance(40);
  expect(looks).toBe(10);
  watch.set(true);
  isLive = false;
  clock.advance(40);
  expect(looks).toBe(11);
  watch[Symbol.dispose]();
});
