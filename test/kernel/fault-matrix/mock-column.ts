// What the kernel's own mocks say of a cell: an access of its own, or a look at the table of a
// mock device.
import { KernelIommufd } from '../../../src/iommu/kernel/kernel-iommufd.js';
import type { Os } from '../../../src/os/index.js';
import { AccessColumn } from './access-column.js';
import { type Accessor, mockAccessor } from './accessor.js';
import type { Cell } from './cells.js';
import { MatrixMemory } from './matrix-memory.js';
import { MockCalls } from './mock-call.js';
import type { Outcome } from './outcome.js';
import { TableColumn } from './table-column.js';

const O_RDWR = 2;

/** Of a kernel with CONFIG_IOMMUFD_TEST. */
export class MockColumn implements Disposable {
  readonly #iommufd: KernelIommufd;
  readonly #memory: MatrixMemory;
  readonly #accessor: Accessor;
  readonly #access: AccessColumn;
  readonly #table: TableColumn;

  constructor(os: Os) {
    const fd = os.ioctl.open('/dev/iommu', O_RDWR);
    this.#iommufd = new KernelIommufd(os.ioctl, fd);
    this.#memory = new MatrixMemory(os.memory);
    const calls = new MockCalls(os.ioctl, fd);
    this.#accessor = mockAccessor(calls);
    this.#access = new AccessColumn(this.#accessor, this.#iommufd, this.#memory);
    this.#table = new TableColumn(calls, this.#iommufd, this.#memory);
  }

  measure(cell: Pick<Cell, 'access' | 'state'>): Promise<Outcome> {
    const { state } = cell;
    const isOfPasid = state === 'mapped for another PASID' || state === 'its PASID detached';
    return isOfPasid ? this.#table.measure(cell) : this.#access.measure(cell);
  }

  [Symbol.dispose](): void {
    this.#accessor[Symbol.dispose]();
    this.#iommufd[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}
