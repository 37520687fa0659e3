import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { deviations as implemented } from '../../src/iommu/soft/deviations.js';
import { rootPath } from '../tools/root.js';
import { deviations } from './deviations.js';

test('every deviation of the soft iommufd is shown, or says why it cannot be compared', () => {
  const compared = implemented.filter(({ notCompared }) => notCompared === undefined);
  expect(Object.keys(deviations).sort()).toEqual(compared.map(({ rule }) => rule).sort());
});

test('every deviation has a test that shows what the soft iommufd does', () => {
  const folder = rootPath('src/iommu/soft');
  const files = readdirSync(folder, { recursive: true }) as string[];
  const tests = files.filter((name) => name.endsWith('.test.ts'));
  const text = tests.map((name) => readFileSync(`${folder}/${name}`, 'utf8')).join('\n');
  for (const { test: name } of implemented) expect(text).toContain(`test('${name}'`);
});

test('a deviation is not taken for another', () => {
  const call = { name: 'IOMMU_IOAS_MAP_FILE', argument: new Uint8Array(40) } as never;
  const matching = (step: object) => {
    return Object.entries(deviations)
      .filter(([, each]) => each.matches(call, step as never))
      .map(([rule]) => rule);
  };
  expect(matching({ one: '0', other: 'EPERM' })).toEqual(['MAP_FILE']);
  expect(matching({ one: 'ENOMEM', other: 'EACCES' })).toEqual(['MAP_FILE']);
  expect(matching({ one: 'EINVAL', other: 'EPERM' })).toEqual([]);
  expect(matching({ one: '0', other: 'EINVAL' })).toEqual([]);
});
