// A cell by an access of software, as that of a device which is emulated: it copies, and answers
// with an errno.
import { AssertionFailure, isOsError } from '../../../src/base/errors.js';
import type { Iommufd } from '../../../src/iommu/iommufd.js';
import type { Accessor } from './accessor.js';
import type { Access, Cell } from './cells.js';
import { enterState } from './enter-state.js';
import { deviceBytes, type MatrixMemory } from './matrix-memory.js';
import type { Outcome } from './outcome.js';
import { Stage } from './stage.js';

export class AccessColumn {
  readonly #accessor: Accessor;
  readonly #memory: MatrixMemory;
  readonly #stage: Stage;

  /** @param accessor - Of the iommufd. Not owned. */
  constructor(accessor: Accessor, iommufd: Iommufd, memory: MatrixMemory) {
    this.#accessor = accessor;
    this.#memory = memory;
    this.#stage = new Stage(iommufd, memory, {
      devId: undefined,
      pasidBits: 0,
      attach: ({ ioasId }) => accessor.attach(ioasId),
      detach: () => {
        if (accessor.detach === undefined) throw new AssertionFailure('nothing detaches it');
        accessor.detach();
      },
      touch: async (iova) => {
        const errno = this.#copy('read', iova, deviceBytes());
        if (errno !== undefined) throw new AssertionFailure(`a touch: ${errno}`);
      },
    });
  }

  async measure({ access, state }: Pick<Cell, 'access' | 'state'>): Promise<Outcome> {
    this.#memory.fill();
    const aim = await enterState(this.#stage, state);
    const bytes = deviceBytes();
    const because = this.#copy(access, aim.iova, bytes);
    await this.#stage.goHome();
    return { moved: this.#memory.movedBy(access, bytes, aim.offsetBytes), because };
  }

  /** @returns The errno of a refusal. */
  #copy(access: Access, iova: number, bytes: Uint8Array): string | undefined {
    try {
      this.#accessor.copy(access, BigInt(iova), bytes);
      return undefined;
    } catch (error) {
      if (!isOsError(error)) throw error;
      return error.errno;
    }
  }
}
