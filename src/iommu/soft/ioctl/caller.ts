// What a call by bytes has besides its bytes.
import type { DmaAccount } from '../../types.js';
import type { SoftIommufd } from '../soft-iommufd.js';
import type { SoftFiles } from './soft-files.js';
import type { UserSpace } from './user-space.js';

export interface Caller {
  readonly iommufd: SoftIommufd;
  /** Where its pointers lead. */
  readonly space: UserSpace;
  /** What its descriptors are. */
  readonly files: SoftFiles;
  /** Who pays for what its maps get pinned. */
  readonly account?: DmaAccount | undefined;
}
