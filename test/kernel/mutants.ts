// Soft iommufds that are wrong in one place, made by changing the compiled text as it is loaded. A
// comparison that does not notice one of them is not worth much.

export interface Mutant {
  readonly name: string;
  /** Below dist/src/iommu/soft. */
  readonly file: string;
  /** Is there exactly once; the beginnings of lines do not count. */
  readonly from: string;
  readonly to: string;
}

const reservedCheck = `if (ioas.meetsReserved(iova, last))
throw fail('EINVAL', call, 'reserved iova');`;
const mappedCheck = `if (ioas.areas.firstMeeting(iova, last))
throw fail('EEXIST', call, 'mapped iova');`;

export const mutants: readonly Mutant[] = [
  {
    name: 'a mapped range is refused before a reserved one',
    file: 'placement.js',
    from: `${reservedCheck}\n${mappedCheck}`,
    to: `${mappedCheck}\n${reservedCheck}`,
  },
  {
    name: 'the allowed list counts for fixed maps',
    file: 'placement.js',
    from: reservedCheck,
    to: `if (ioas.allowed.size > 0 && !ioas.allowed.firstMeeting(iova, last))
throw fail('EINVAL', call, 'not allowed');
${reservedCheck}`,
  },
  {
    name: 'an unmap takes an area of which it covers a part',
    file: 'unmap.js',
    from: "if (area.start < first || area.last > last)\nreturn 'ENOENT';",
    to: '',
  },
  {
    name: 'ids are not used again',
    file: 'objects.js',
    from: 'if (id < this.#lowestFree)\nthis.#lowestFree = id;',
    to: '',
  },
  {
    name: 'a copy may write what was mapped read-only',
    file: 'copy.js',
    from: '&& !area.isSourceWritable',
    to: '&& false',
  },
];

/** The text with the mutant's one change. */
export function mutated(text: string, { name, from, to }: Mutant): string {
  const plain = text.replace(/^[ \t]+/gm, '');
  const parts = plain.split(from);
  if (parts.length !== 2) throw new Error(`"${name}": its text is there ${parts.length - 1} times`);
  return parts.join(to);
}
