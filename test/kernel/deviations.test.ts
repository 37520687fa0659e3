import { expect, test } from 'vitest';
import { deviations as implemented } from '../../src/iommu/soft/deviations.js';
import { deviations } from './deviations.js';

test('every deviation of the soft iommufd is shown, or says why it cannot be', () => {
  const rules = implemented.map(({ rule }) => rule);
  expect(Object.keys(deviations).sort()).toEqual(rules.sort());
});

test('a deviation is not taken for another', () => {
  const call = { name: 'IOMMU_IOAS_MAP_FILE', argument: new Uint8Array(40) } as never;
  const matching = (step: object) => {
    return Object.entries(deviations)
      .filter(([, each]) => 'matches' in each && each.matches(call, step as never))
      .map(([rule]) => rule);
  };
  expect(matching({ one: '0', other: 'EPERM' })).toEqual(['MAP_FILE']);
  expect(matching({ one: 'ENOMEM', other: 'EACCES' })).toEqual(['MAP_FILE']);
  expect(matching({ one: 'EINVAL', other: 'EPERM' })).toEqual([]);
  expect(matching({ one: '0', other: 'EINVAL' })).toEqual([]);
});
