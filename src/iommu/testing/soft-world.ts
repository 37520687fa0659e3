// A soft iommufd over fakes, for tests of its rules.
import { GiB, MiB } from '../../base/units.js';
import type { IovaRange } from '../requests.js';
import { createControl } from '../soft/control.js';
import { DeviceIommu } from '../soft/device-iommu.js';
import { Extents } from '../soft/extents.js';
import { Invalidation } from '../soft/invalidation.js';
import { NodePool, nodeBytes } from '../soft/node-pool.js';
import { PasidTable } from '../soft/pasid-table.js';
import { SoftGroup, type SoftUnit } from '../soft/soft-device.js';
import { SoftIommufd, type SoftIommufdOptions } from '../soft/soft-iommufd.js';
import { FakeArena, FakeMemory } from './fake-memory.js';
import { ManualClock } from './manual-clock.js';

export interface UnitOptions {
  readonly pasidBits?: number;
  readonly aperture?: IovaRange;
  readonly reserved?: readonly IovaRange[];
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
    iommufd,
    /** Another context over the same parts. */
    otherIommufd: () => new SoftIommufd({ pool, extents, invalidation }),
    /** A function that can be bound. */
    createUnit(options: UnitOptions = {}): SoftUnit {
      return {
        pasids: new PasidTable(options.pasidBits ?? 4),
        aperture: options.aperture ?? { start: 0n, last: 2n ** 48n - 1n },
        reserved: options.reserved ?? [],
        group: options.group ?? new SoftGroup(),
        device: undefined,
      };
    },
    /** What a device sees, asleep between translations. */
    translator(unit: SoftUnit): DeviceIommu {
      const handles = { tables: pool.shared, pasids: unit.pasids.shared, control };
      const device = new DeviceIommu(handles);
      device.park();
      return device;
    },
  };
}

export type SoftWorld = ReturnType<typeof createSoftWorld>;
