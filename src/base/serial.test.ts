import { expect, test } from 'vitest';
import { Serial } from './serial.js';

test('operations run one at a time, in order, whatever becomes of the ones before', async () => {
  const serial = new Serial();
  const seen: string[] = [];
  const step = (name: string, turns: number, fails = false) =>
    serial.run(async () => {
      seen.push(`${name} begins`);
      for (let turn = 0; turn < turns; turn += 1) await undefined;
      seen.push(`${name} ends`);
      if (fails) throw new RangeError(name);
      return name;
    });
  const results = await Promise.allSettled([step('a', 5), step('b', 1, true), step('c', 0)]);
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});
