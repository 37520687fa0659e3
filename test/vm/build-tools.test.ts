import { expect, test } from 'vitest';
import { buildTools, missingPackages } from './build-tools.js';

test('programs that no folder holds are missing, by the name of their package', () => {
  const programs = buildTools.filter(({ shownBy }) => !shownBy.startsWith('/'));
  const missing = missingPackages('/no-such-folder:');
  for (const tool of programs) expect(missing).toContain(tool.package);
});

test('a program is found in any folder', () => {
  const missing = missingPackages(`/no-such-folder:${process.env.PATH}`);
  expect(missing).not.toContain('make');
});
