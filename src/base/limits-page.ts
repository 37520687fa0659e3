// docs/reference/limits.md, generated from the limits and the comments beside them.
import { assert } from './errors.js';
import { type LimitName, limits } from './limits.js';
import { GiB, KiB, MiB } from './units.js';

const commented = /\/\*\* ([^*]*(?:\*(?!\/)[^*]*)*)\*\/\s+(\w+):/g;

/** The comment of every limit, by its name, from the source text of src/base/limits.ts. */
function commentsOf(source: string): Map<string, string> {
  const comments = new Map<string, string>();
  for (const [, text = '', name = ''] of source.matchAll(commented)) {
    comments.set(name, text.replace(/\s*\n\s*\*?\s*/g, ' ').trim());
  }
  return comments;
}

/** A value as people read it: bytes in binary units, times in seconds and more. */
function readable(name: LimitName): string {
  const value: number = limits[name];
  const inUnits = (units: readonly (readonly [number, string])[]): string | undefined => {
    const unit = units.find(([size]) => value >= size && value % size === 0);
    return unit === undefined ? undefined : `${value / unit[0]} ${unit[1]}`;
  };
  const time = [
    [24 * 3600 * 1000, 'd'],
    [3600 * 1000, 'h'],
    [1000, 's'],
    [1, 'ms'],
  ] as const;
  const bytes = [
    [GiB * KiB, 'TiB'],
    [GiB, 'GiB'],
    [MiB, 'MiB'],
    [KiB, 'KiB'],
    [1, 'bytes'],
  ] as const;
  const units = /Ms(Max)?$/.test(name) ? time : /Bytes/.test(name) ? bytes : [];
  return inUnits(units) ?? String(value);
}

/**
 * The whole page.
 *
 * @param source - Text of src/base/limits.ts.
 */
export function limitsPage(source: string): string {
  const comments = commentsOf(source);
  const rows = (Object.keys(limits) as LimitName[]).map((name) => {
    const comment = comments.get(name);
    assert(comment !== undefined, `the limit ${name} has no comment`);
    return `| \`${name}\` | ${readable(name)} | ${comment} |`;
  });
  return `# Limits

<!-- Generated from src/base/limits.ts by "node dist/test/tools/write-pages.js". -->

Every quantity that comes from outside has a limit, which is checked before anything is allocated
for it.

| limit | value | of what |
|---|---|---|
${rows.join('\n')}
`;
}
