import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { rootPath } from '../tools/root.js';
import { mutants, mutated } from './mutants.js';

for (const mutant of mutants) {
  test(`${mutant.name}: the place of its change is there`, () => {
    const text = readFileSync(rootPath(`dist/src/iommu/soft/${mutant.file}`), 'utf8');
    expect(mutated(text, mutant)).not.toBe(text.replace(/^[ \t]+/gm, ''));
  });
}
