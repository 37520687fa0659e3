// The pages in docs/ that are generated from tables in the source.
import { leasePage } from '../../src/lease/lease-page.js';

/** Path from the root of the repository, and the text. */
export const generatedPages: readonly { readonly path: string; readonly text: () => string }[] = [
  { path: 'docs/concepts/lease-states.md', text: leasePage },
];
