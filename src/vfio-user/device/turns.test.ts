// The turns of many devices on one event loop.
import { expect, it } from 'vitest';
import { ManualClock } from '../testing/manual-clock.js';
import { type TurnResult, Turns } from './turns.js';

const round = () => new Promise((resolve) => setImmediate(resolve));

function taker(clock: ManualClock, costMs: number, result: () => TurnResult) {
  return {
    count: 0,
    turn() {
      this.count++;
      clock.advance(costMs);
      return result();
    },
  };
}

it('end a round after its time, and go on where they stopped', async () => {
  const clock = new ManualClock();
  const turns = new Turns(clock);
  const takers = [1, 2, 3, 4].map(() => taker(clock, 0.06, () => 'busy'));
  for (const one of takers) turns.add(one);
  await round();
  expect(takers.map(({ count }) => count)).toEqual([1, 1, 0, 0]);
  await round();
  expect(takers.map(({ count }) => count)).toEqual([1, 1, 1, 1]);
  for (const one of takers) turns.remove(one);
  await round();
  await round();
  expect(takers.map(({ count }) => count)).toEqual([1, 1, 1, 1]);
});

it('give one that only spins one look in a round, and none to one that is done', async () => {
  const clock = new ManualClock();
  const turns = new Turns(clock);
  const spinning = taker(clock, 0, () => 'spinning');
  const busy = taker(clock, 0.03, () => 'busy');
  const done = taker(clock, 0, () => 'done');
  for (const one of [spinning, busy, done]) turns.add(one);
  await round();
  expect([spinning.count, busy.count, done.count]).toEqual([1, 4, 1]);
  await round();
  expect([spinning.count, busy.count, done.count]).toEqual([2, 8, 1]);
  turns.remove(spinning);
  turns.remove(busy);
});
