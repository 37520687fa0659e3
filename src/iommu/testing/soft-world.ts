// A soft iommufd over fakes, for tests of its rules.
import { GiB, MiB } from '../../base/units.js';
import { createControl } from '../soft/control.js';
import { DeviceIommu } from '../soft/device-iommu.js';
import { Extents } from '../soft/extents.js';
import { SoftGroup } from '../soft/group.js';
import { Invalidation } from '../soft/invalidation.js';
import { NodePool, nodeBytes } from '../soft/node-pool.js';

import { SoftIommufd, type SoftIommufdOptions } from '../soft/soft-iommufd.js';
import { SoftUnit } from '../soft/soft-unit.js';
import { createTraits, type TraitOptions } from '../soft/traits.js';

import { FakeArena, FakeMemory } from './fake-memory.js';
import { ManualClock } from './manual-clock.js';

export interface UnitOptions extends TraitOptions {
  readonly group?: SoftGroup;
}

/** What an iommufd may be told beyond its parts. */
export type SoftWorldOptions = Omit<SoftIommufdOptions, 'pool' | 'extents' | 'invalidation'>;

/** Everything that a test of iommufd's rules touches; no device runs unless it is resumed. */
export function createSoftWorld(tablePages = 512, options: SoftWorldOptions = {}) {
  const memory = new FakeMemory();
  const arena = new FakeArena(memory, 64 * MiB);
  const pool = new NodePool(tablePages * nodeBytes);
  const control = createControl();
  const invalidation = new Invalidation(control, new ManualClock(), 100);
  const extents = new Extents({ arena, memory, startBytes: 0, placedBytesMax: GiB });
  const iommufd = new SoftIommufd({ pool, extents, invalidation, ...options });
  return {
    memory,
    arena,
    pool,
    extents,
    invalidation,
    iommufd,
    /** Another context over the same parts. */
    otherIommufd: () => new SoftIommufd({ pool, extents, invalidation }),
    /** A function that can be bound. */
    createUnit(options: UnitOptions = {}): SoftUnit {
      const { group = new SoftGroup(), pasidBits = 4, ...rest } = options;
      return new SoftUnit({ traits: createTraits({ pasidBits, ...rest }), group });
    },
    /** What a device sees, asleep between translations. */
    translator(unit: SoftUnit): DeviceIommu {
      const handles = { tables: pool.shared, ...unit.handles, control };
      const device = new DeviceIommu(handles);
      device.park();
      return device;
    },
  };
}

export type SoftWorld = ReturnType<typeof createSoftWorld>;
