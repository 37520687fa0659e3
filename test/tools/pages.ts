// The pages in docs/ that are generated from tables in the source.
import { readFileSync } from 'node:fs';
import { errorPage } from '../../src/base/error-page.js';
import { limitsPage } from '../../src/base/limits-page.js';
import { iommufdPage } from '../../src/iommu/iommufd-page.js';
import { leasePage } from '../../src/lease/lease-page.js';
import { rulesPage } from '../../src/vfio-user/testing/rules/page.js';
import { faultMatrixPage } from '../kernel/fault-matrix/page.js';
import { rootPath } from './root.js';

/** Path from the root of the repository, and the text. */
export const generatedPages: readonly { readonly path: string; readonly text: () => string }[] = [
  { path: 'docs/concepts/lease-states.md', text: leasePage },
  { path: 'docs/internals/fault-matrix.md', text: faultMatrixPage },
  { path: 'docs/internals/vfio-user-rules.md', text: rulesPage },
  { path: 'docs/reference/errors.md', text: errorPage },
  { path: 'docs/reference/iommufd.md', text: iommufdPage },
  {
    path: 'docs/reference/limits.md',
    text: () => limitsPage(readFileSync(rootPath('src/base/limits.ts'), 'utf8')),
  },
];
