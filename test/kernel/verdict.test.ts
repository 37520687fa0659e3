import { expect, test } from 'vitest';
import { listedErrnos, reachablePairs, unreachablePairs } from './pairs.js';
import { deviceProfile, mockProfile } from './profiles.js';
import { Tally } from './tally.js';
import { verdictOf } from './verdict.js';

function full(): Tally {
  const tally = new Tally();
  for (const pair of reachablePairs()) tally.pairs.set(pair, 1);
  tally.operations = 100;
  tally.succeeded = 40;
  return tally;
}

test('every listed command is one of the test, and no errno is listed twice', () => {
  const all = [mockProfile, deviceProfile].flatMap(({ commands }) => commands);
  const names = all.map(({ name }) => name);
  for (const [name, { reached }] of Object.entries(listedErrnos)) {
    // What nothing here can reach has no command either.
    if (reached.length > 0) expect(names).toContain(name);
  }
  const pairs = [...reachablePairs(), ...unreachablePairs().map(({ pair }) => pair)];
  expect(new Set(pairs).size).toBe(pairs.length);
});

test('a whole run reaches what is listed and succeeds often enough', () => {
  expect(verdictOf(full(), 0, true).failures).toEqual([]);
  const missing = full();
  missing.pairs.delete('IOMMU_IOAS_UNMAP ENOENT');
  expect(verdictOf(missing, 0, true).failures).toEqual([
    'listed, and not reached: IOMMU_IOAS_UNMAP ENOENT',
  ]);
  expect(verdictOf(missing, 0, false).failures).toEqual([]);
  const failing = full();
  failing.succeeded = 39;
  expect(verdictOf(failing, 0, true).failures).toHaveLength(1);
});

test('the last line says it all', () => {
  const tally = full();
  tally.deviations.set('P3', 2);
  const reached = reachablePairs().length;
  const listed = reached + unreachablePairs().length;
  expect(verdictOf(tally, 0, true).lastLine).toBe(
    `100 operations, 40 succeeded, ${reached} (command, errno) pairs of ${listed} listed, ` +
      '0 mismatches, 1 listed deviations',
  );
});
