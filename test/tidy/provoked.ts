// Which error codes no test provokes: a code must stand in a test as text, in the spelling of the
// table or of Varlink. Tests of the table itself prove nothing.
import { type ErrorCode, errorTable } from '../../src/base/error-table.js';
import { varlinkErrorName } from '../../src/varlink/interface.js';
import type { TypeScriptFile } from './source-tree.js';

const ofTheTable = [
  'src/base/errors.test.ts',
  'src/varlink/interface.test.ts',
  'test/tidy.test.ts',
];

export function unprovoked(files: readonly TypeScriptFile[]): readonly ErrorCode[] {
  const words = new Set<string>();
  for (const { path, text } of files) {
    if (
      !/\.test\.ts$|-contract\.ts$/.test(path) ||
      ofTheTable.some((start) => path.startsWith(start))
    )
      continue;
    for (const word of text.match(/\b[A-Z]\w+\b/g) ?? []) words.add(word);
  }
  return (Object.keys(errorTable) as ErrorCode[]).filter(
    (code) => !words.has(code) && !words.has(varlinkErrorName('', code).slice(1)),
  );
}
