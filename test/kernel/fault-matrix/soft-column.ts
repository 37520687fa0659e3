// The columns in software.
import { MiB } from '../../../src/base/units.js';
import { createSoftIommu } from '../../../src/iommu/soft/soft-iommu.js';
import { systemClock } from '../../../src/os/clock.js';
import type { MemoryOs } from '../../../src/os/memory-types.js';
import { AccessColumn } from './access-column.js';
import { softAccessor } from './accessor.js';
import type { Cell } from './cells.js';
import { DmaColumn } from './dma-column.js';
import { MatrixMemory } from './matrix-memory.js';
import type { Outcome } from './outcome.js';
import { openSoftRig } from './soft-rig.js';

/** What measures a column. */
export interface Measurer {
  measure(cell: Pick<Cell, 'access' | 'state'>): Promise<Outcome>;
}

/** Of DMA. */
export async function openSoftColumn(memoryOs: MemoryOs): Promise<Measurer & AsyncDisposable> {
  const rig = await openSoftRig(memoryOs);
  await rig.edu.identify();
  const column = new DmaColumn(rig);
  return {
    measure: (cell) => column.measure(cell),
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

/** Of accesses. No device runs. */
export function openSoftAccessColumn(memoryOs: MemoryOs): Measurer & Disposable {
  const soft = createSoftIommu({
    arena: memoryOs.createArena(16 * MiB),
    layout: { windowBytes: 2 * MiB },
    memory: memoryOs,
    clock: systemClock,
    pasidBits: 0,
    tableBytes: 4 * MiB,
  });
  const memory = new MatrixMemory(memoryOs);
  const accessor = softAccessor(soft.iommufd);
  const column = new AccessColumn(accessor, soft.iommufd, memory);
  return {
    measure: (cell) => column.measure(cell),
    [Symbol.dispose]() {
      accessor[Symbol.dispose]();
      soft.iommufd[Symbol.dispose]();
      memory[Symbol.dispose]();
    },
  };
}
