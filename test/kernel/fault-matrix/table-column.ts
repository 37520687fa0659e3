// A cell of a PASID, by a look at which page table a mock device has for it and where that leads.
// Nothing moves: the mock has no DMA.
import { AssertionFailure, isOsError } from '../../../src/base/errors.js';
import type { Iommufd } from '../../../src/iommu/iommufd.js';
import * as mock from '../mock-uapi.js';
import type { Cell } from './cells.js';
import { enterState, targetIova } from './enter-state.js';
import { type MatrixMemory, pageBytes } from './matrix-memory.js';
import type { MockCalls } from './mock-call.js';
import type { Outcome } from './outcome.js';
import { type Port, type Space, Stage } from './stage.js';

const noPasid = 0;

export class TableColumn {
  readonly #calls: MockCalls;
  readonly #memory: MatrixMemory;
  readonly #mockId: number;
  readonly #stage: Stage;
  /** Everything that was attached in this state. */
  readonly #attached = new Set<Space>();

  constructor(calls: MockCalls, iommufd: Iommufd, memory: MatrixMemory) {
    this.#calls = calls;
    this.#memory = memory;
    const made = calls.call(
      mock.testCmd.mock_domain_flags,
      mock.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
      iommufd.ioasAlloc(),
      { out_stdev_id: 0, out_hwpt_id: 0, out_idev_id: 0, dev_flags: mock.MOCK_FLAGS_DEVICE_PASID },
    );
    this.#mockId = made.out_stdev_id;
    const port: Port = {
      devId: made.out_idev_id,
      pasidBits: mock.MOCK_PASID_WIDTH,
      attach: (space, pasid) => this.#attach(space, pasid),
      detach: (pasid) => this.#detach(pasid),
      touch: async (_iova, pasid) => {
        const { moved } = this.#look(pasid);
        if (moved !== 'all') throw new AssertionFailure('a PASID does not reach what it has');
      },
    };
    this.#stage = new Stage(iommufd, memory, port);
  }

  async measure({ state }: Pick<Cell, 'state'>): Promise<Outcome> {
    this.#attached.clear();
    const { pasid } = await enterState(this.#stage, state);
    const outcome = this.#look(pasid);
    await this.#stage.goHome();
    return outcome;
  }

  #attach(space: Space, pasid: number | undefined): void {
    this.#attached.add(space);
    const pt_id = space.hwptId!;
    if (pasid === undefined) {
      const op = mock.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE;
      this.#calls.call(mock.testCmd.mock_domain_replace, op, this.#mockId, { pt_id });
    } else {
      const op = mock.IOMMU_TEST_OP_PASID_ATTACH;
      this.#calls.call(mock.testCmd.pasid_attach, op, this.#mockId, { pasid, pt_id });
    }
  }

  #detach(pasid: number | undefined): void {
    if (pasid === undefined) throw new AssertionFailure('the mock detaches PASIDs alone');
    const op = mock.IOMMU_TEST_OP_PASID_DETACH;
    this.#calls.call(mock.testCmd.pasid_detach, op, this.#mockId, { pasid });
  }

  /** What the mock would do with an access to the target. */
  #look(pasid = noPasid): Outcome {
    if (this.#hasHwpt(pasid, 0)) return { moved: 'nothing', because: 'its PASID has no HWPT' };
    const used = [...this.#attached].find(({ hwptId }) => this.#hasHwpt(pasid, hwptId!));
    if (used === undefined) return { moved: 'something else', because: 'an unknown HWPT' };
    const fields = {
      iova: BigInt(targetIova),
      length: BigInt(pageBytes),
      uptr: this.#calls.os.addressOf(this.#memory.page('target')),
    };
    const op = mock.IOMMU_TEST_OP_MD_CHECK_MAP;
    const isThere = this.#answers(() =>
      this.#calls.call(mock.testCmd.check_map, op, used.hwptId!, fields),
    );
    return isThere
      ? { moved: 'all' }
      : { moved: 'nothing', because: 'not in the HWPT of its PASID' };
  }

  /** @param hwptId - 0 asks whether there is none. */
  #hasHwpt(pasid: number, hwptId: number): boolean {
    const op = mock.IOMMU_TEST_OP_PASID_CHECK_HWPT;
    return this.#answers(() =>
      this.#calls.call(mock.testCmd.pasid_check, op, this.#mockId, { pasid, hwpt_id: hwptId }),
    );
  }

  /** The kernel says EINVAL for no. */
  #answers(check: () => void): boolean {
    try {
      check();
      return true;
    } catch (error) {
      if (isOsError(error, 'EINVAL')) return false;
      throw error;
    }
  }
}
