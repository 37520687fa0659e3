// The IOMMU of one function, as far as the function needs it: handles for the worker, pages for
// windows, address spaces.
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import { createControl, type IommuHandles } from '../../iommu/soft/control.js';
import { Invalidation } from '../../iommu/soft/invalidation.js';
import { NodePool } from '../../iommu/soft/node-pool.js';
import { PasidTable } from '../../iommu/soft/pasid-table.js';
import type { AddressSpace } from '../../iommu/types.js';
import type { Arena } from '../../os/memory-types.js';
import type { ArenaRanges } from './window-set.js';

export class FunctionIommu {
  readonly handles: IommuHandles;
  readonly pages: ArenaRanges;
  readonly #invalidation: Invalidation;
  constructor(_arena: Arena, pasidBits: number, clock: Clock) {
    const control = createControl();
    this.handles = {
      tables: new NodePool(2 ** 31).shared,
      pasids: new PasidTable(Math.min(pasidBits, 16)).shared,
      control,
    };
    this.#invalidation = new Invalidation(control, clock, 1000);
    let next = 0;
    this.pages = {
      allocate: (n) => {
        const at = next;
        next += n;
        return at;
      },
      free() {},
    };
  }
  wake(): void {
    this.#invalidation.wake();
  }
  workerGone(): void {
    this.#invalidation.workerGone();
  }
  checkFaults(): void {}
  async open(_pasid: number | undefined): Promise<AddressSpace> {
    throw new LessorError('UNSUPPORTED', 'this function has no address spaces yet');
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
