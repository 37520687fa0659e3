import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generatedPages } from './tools/pages.js';
import { rootPath } from './tools/root.js';

// Mend with: node dist/test/tools/write-pages.js
test.each(generatedPages)('$path is what its source gives', ({ path, text }) => {
  expect(readFileSync(rootPath(path), 'utf8')).toBe(text());
});
