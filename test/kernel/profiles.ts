// Which devices random sequences have. One sequence has one sort only: a device must never be moved
// to a page table of another's IOMMU, because the kernel's mock takes any device for one of its own
// (and the kernel asks whose a table is when it is attached, not when it replaces another).
import type { Command } from './command.js';
import { allCommands } from './commands/index.js';
import { addReserved, mockCommands } from './commands/mock.js';
import { vfioCommands } from './commands/vfio.js';

export interface Profile {
  readonly commands: readonly Command<never>[];
  /** Of the random operations. */
  readonly share: number;
  /** Chooses it on the command line. */
  readonly words: string;
}

const isOfMocks = new Set(mockCommands.filter(({ name }) => name !== addReserved.name));

export const mockProfile: Profile = { commands: allCommands, share: 0.9, words: '' };

/** QEMU's teaching device behind an Intel IOMMU, by VFIO. */
export const deviceProfile: Profile = {
  commands: [...allCommands.filter((each) => !isOfMocks.has(each)), ...vfioCommands],
  share: 0.1,
  words: '--device ',
};
