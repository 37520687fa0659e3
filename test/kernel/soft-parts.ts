// What all contexts of the soft iommufd share, as a broker sets it up: arena, tables, clock.
import { createControl } from '../../src/iommu/soft/control.js';
import { Extents } from '../../src/iommu/soft/extents.js';
import { Invalidation } from '../../src/iommu/soft/invalidation.js';
import { NodePool } from '../../src/iommu/soft/node-pool.js';
import { createOs } from '../../src/os/index.js';

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
  return { arena, pool, control, invalidation, extents };
}

export type SoftParts = ReturnType<typeof createSoftParts>;
