// What all contexts of the soft iommufd share, as a broker sets it up: arena, tables, clock.
import { MemoryAccounting } from '../../src/iommu/soft/accounting.js';
import { createControl } from '../../src/iommu/soft/control.js';
import { Extents } from '../../src/iommu/soft/extents.js';
import { Invalidation } from '../../src/iommu/soft/invalidation.js';
import { NodePool } from '../../src/iommu/soft/node-pool.js';
import { createOs } from '../../src/os/index.js';
import { readCaller } from './caller.js';

const MiB = 1024 * 1024;

/** Device workers: none. What is removed is free at once. */
export function createSoftParts() {
  const os = createOs();
  const arena = os.memory.createArena(1024 * MiB);
  const pool = new NodePool(64 * MiB);
  const control = createControl();
  const invalidation = new Invalidation(control, os.clock, 1000);
  const extents = new Extents({
    arena,
    memory: os.memory,
    startBytes: 0,
    placedBytesMax: arena.lengthBytes,
  });
  const caller = readCaller();
  const lockedMemory = { accounting: new MemoryAccounting(), process: () => caller };
  return { arena, pool, control, invalidation, extents, lockedMemory };
}

export type SoftParts = ReturnType<typeof createSoftParts>;
