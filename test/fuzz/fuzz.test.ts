// A short run of the attack, always the same; `npm run test:fuzz` makes the long one.
import { expect, test } from 'vitest';
import { fuzz } from './fuzz.js';
import { Random } from './random.js';
import { unreached } from './reached.js';

test('20,000 frames: nothing crashes, leaks or stalls, and every handler is reached', async () => {
  const { frames, kernelFrames, tally, neighbourRequests } = await fuzz({
    seed: 1,
    frames: 20_000,
  });
  expect(frames).toBeGreaterThanOrEqual(20_000);
  expect(kernelFrames).toBeGreaterThan(100);
  expect(neighbourRequests).toBeGreaterThan(0);
  expect(unreached(tally)).toEqual([]);
}, 120_000);

test('the same seed gives the same numbers', () => {
  const words = (seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: 8 }, () => random.word());
  };
  expect(words(5)).toEqual(words(5));
  expect(words(5)).not.toEqual(words(6));
});
