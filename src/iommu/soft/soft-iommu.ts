// The IOMMU of one emulated function, put together: tables, PASIDs, extents, iommufd, spaces.
import type { Clock } from '../../base/clock.js';
import { assert } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { isAligned } from '../../base/units.js';
import type { Arena, MemoryOs } from '../../os/memory-types.js';
import { type AddressSpaces, openAddressSpaces } from '../address-space.js';
import type { IommuDevice } from '../iommufd.js';
import type { IovaRange } from '../requests.js';
import { type ArenaLayout, ArenaPages } from './arena-pages.js';
import { createControl, type IommuHandles } from './control.js';
import { Extents, extentBytes, type MemoryFacts } from './extents.js';
import { Invalidation } from './invalidation.js';
import { NodePool } from './node-pool.js';
import { SoftIommufd } from './soft-iommufd.js';
import { SoftUnit } from './soft-unit.js';
import { createTraits } from './traits.js';

export interface SoftIommuOptions {
  readonly arena: Arena;
  readonly layout: ArenaLayout;
  readonly memory: MemoryFacts & Partial<Pick<MemoryOs, 'adviseHugePages'>>;
  readonly clock: Clock;
  /** Width of the function's PASIDs, 0 to 20. */
  readonly pasidBits: number;
  /** Addresses that the function can send; default all below 2^48. */
  readonly aperture?: IovaRange;
  readonly reserved?: readonly IovaRange[];
  /** Of the page-table pool; costs nothing until touched. Default 2 GiB. */
  readonly tableBytes?: number;
  readonly placedBytesMax?: number;
  /** How long a running worker may take to acknowledge. Default 1000. */
  readonly acknowledgeMsMax?: number;
  /** Free pages for client memory of an arena that several functions share. */
  readonly clientPages?: ArenaPages;
  /** Maps of one address space. Default `limits.mapsPerLeaseMax`. */
  readonly mapsMax?: number;
}

export interface SoftIommu {
  /** For `new DeviceIommu(handles)` in the device worker. */
  readonly handles: IommuHandles;
  /** `wake`, `workerGone`, `invalidate` for whoever runs the worker. */
  readonly invalidation: Invalidation;
  /** Pages of the arena that are for windows. */
  readonly windows: ArenaPages;
  readonly iommufd: SoftIommufd;
  readonly device: IommuDevice;
  readonly spaces: AddressSpaces;
  /** Charged bytes of placed client memory. */
  readonly placedBytes: number;
  /** Table pages in use, of all address spaces. */
  readonly tablePages: number;
}

/** The IOMMU of a function, its device bound. */
export function createSoftIommu(options: SoftIommuOptions): SoftIommu {
  const { arena, layout, memory, clock } = options;
  assert(isAligned(layout.windowBytes, extentBytes), 'windows take whole extents');
  assert(layout.windowBytes <= arena.lengthBytes, 'windows fit the arena');
  const pool = new NodePool(options.tableBytes ?? 2 ** 31, memory.adviseHugePages);
  const control = createControl();
  const invalidation = new Invalidation(control, clock, options.acknowledgeMsMax ?? 1000);
  const extents = new Extents({
    arena,
    memory,
    startBytes: layout.windowBytes,
    placedBytesMax: options.placedBytesMax ?? limits.placedBytesMax,
    ...(options.clientPages === undefined ? {} : { pages: options.clientPages }),
  });
  const iommufd = new SoftIommufd({ pool, extents, invalidation });
  const { pasidBits, aperture, reserved = [] } = options;
  const ends = aperture === undefined ? {} : { aperture };
  const traits = createTraits({ pasidBits, reserved, hasDirtyTracking: true, ...ends });
  const unit = new SoftUnit({ traits });
  const device = iommufd.bind(unit);
  const maps = options.mapsMax === undefined ? {} : { mapsMax: options.mapsMax };
  return {
    handles: { tables: pool.shared, ...unit.handles, control },
    invalidation,
    windows: new ArenaPages(0, layout.windowBytes),
    iommufd,
    device,
    spaces: openAddressSpaces({ iommufd, device, ...maps }),
    get placedBytes() {
      return extents.placedBytes;
    },
    get tablePages() {
      return pool.usedCount;
    },
  };
}
