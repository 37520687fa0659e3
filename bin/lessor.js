#!/usr/bin/env node
import { existsSync } from 'node:fs';

const entry = new URL('../dist/src/cli/main.js', import.meta.url);
if (!existsSync(entry)) {
  process.stderr.write('lessor: this clone is not built yet; run "npm run setup" in it first.\n');
  process.exit(3);
}
await import(entry.href);
