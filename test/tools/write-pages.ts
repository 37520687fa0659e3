// Writes every generated page: node dist/test/tools/write-pages.js
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generatedPages } from './pages.js';
import { rootPath } from './root.js';

for (const page of generatedPages) {
  const path = rootPath(page.path);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, page.text());
}
