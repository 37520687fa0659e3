// Writes every generated page: node dist/test/tools/write-pages.js
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generatedPages } from './pages.js';

for (const page of generatedPages) {
  const path = fileURLToPath(new URL(`../../../${page.path}`, import.meta.url));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, page.text());
}
