// The second way into a soft iommufd: by bytes, as ioctl(2) on an open /dev/iommu.
// What every file answers before its driver is asked (FIOCLEX and the like) is not here.
import { assert } from '../../../base/errors.js';
import { IOMMUFD_CMD_BASE } from '../../../uapi/iommufd-requests.js';
import type { UserMemory } from '../../user-memory.js';
import type { SoftIommufd } from '../soft-iommufd.js';
import type { Caller } from './caller.js';
import { type Command, runCommand } from './command.js';
import { commands } from './commands.js';
import { runContainerCall } from './container-calls.js';
import { userArgument } from './user-argument.js';
import { UserSpace } from './user-space.js';

export interface SoftIommuFileOptions extends Omit<Caller, 'space'> {
  /** Where the pointers of the caller lead. */
  readonly memory: UserMemory;
  /** Further requests, as a kernel for tests has them. */
  readonly moreCommands?: readonly Command[];
}

export class SoftIommuFile {
  readonly #caller: Caller;
  readonly #commands: ReadonlyMap<number, Command>;
  /** One past the last number of the table, holes included. */
  readonly #numberEnd: number;

  constructor(options: SoftIommuFileOptions) {
    const { iommufd, files, account, memory } = options;
    this.#caller = { iommufd, files, account, space: new UserSpace(memory) };
    const all = [...commands, ...(options.moreCommands ?? [])];
    this.#commands = new Map(all.map((each) => [each.request, each]));
    this.#numberEnd = 1 + Math.max(...all.map(({ request }) => request & 0xff));
  }

  /** The same, by methods. */
  get iommufd(): SoftIommufd {
    return this.#caller.iommufd;
  }

  /**
   * One ioctl, by the rules of Linux's iommufd.
   *
   * @param argument - The structure, read once and written in place, as if nothing lay behind it;
   *   or its address in the memory of the caller, or what a call by value takes.
   * @returns 0, or what the request gives by value.
   * @throws OsError with Linux's errno; memory of the caller is as Linux leaves it.
   */
  ioctl(request: number, argument: Uint8Array | bigint): number {
    assert(Number.isInteger(request) && request >= 0 && request < 2 ** 32, `request ${request}`);
    const user = userArgument(argument, this.#caller.space);
    const number = request & 0xff;
    if (number < IOMMUFD_CMD_BASE || number >= this.#numberEnd) {
      return runContainerCall(this.#caller, request, user);
    }
    runCommand(this.#commands, request, this.#caller, user);
    return 0;
  }
}
