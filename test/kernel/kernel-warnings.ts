// What the guest's kernel warned of while it was compared. A warning is a mistake of the kernel, or
// of how the comparison uses its mocks; either has to be looked at, and then fixed or named here.
import { warningsIn } from '../vm/console.js';

export interface KnownWarning {
  readonly pattern: RegExp;
  readonly reason: string;
}

export const knownWarnings: readonly KnownWarning[] = [
  {
    // By its line, so that a later kernel's is looked at again.
    pattern: /generic_pt\/fmt\/\.\.\/iommu_pt\.h:933 at \w+_map_range\+/,
    reason: 'iommufd lets a map be neither readable nor writeable, and page tables refuse that',
  },
];

export interface Judged {
  readonly known: readonly { readonly line: string; readonly reason: string }[];
  readonly unknown: readonly string[];
}

/** @param console - All that the kernel said. */
export function judgeWarnings(console: string, list = knownWarnings): Judged {
  const known: { line: string; reason: string }[] = [];
  const unknown: string[] = [];
  for (const line of warningsIn(console)) {
    const found = list.find(({ pattern }) => pattern.test(line));
    if (found === undefined) unknown.push(line);
    else known.push({ line, reason: found.reason });
  }
  return { known, unknown };
}
