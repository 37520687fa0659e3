// Short forms for tests of what devices see.
import { MiB } from '../../base/units.js';
import { faultReasonOf } from '../soft/device-iommu.js';
import type { SoftUnit } from '../soft/soft-unit.js';
import type { SoftWorld } from './soft-world.js';

const READABLE_AT = 1 | 4;

/** Maps the beginning of a new file, for reading. */
export function mapOne(world: SoftWorld, ioasId: number, iova = 0n, length = 4096n): void {
  const fd = world.memory.create(2 * MiB);
  world.iommufd.ioasMapFile({ flags: READABLE_AT, ioasId, fd, start: 0n, length, iova });
}

/** "mapped", or the reason why a read is refused. */
export function sees(world: SoftWorld, unit: SoftUnit, iova = 0, pasid?: number): string {
  const offset = world.translator(unit).translate(pasid, iova, 'read');
  return offset < 0 ? faultReasonOf(offset) : 'mapped';
}

/** A bound device and an IOAS. */
export function bindOne(world: SoftWorld, options: Parameters<SoftWorld['createUnit']>[0] = {}) {
  const unit = world.createUnit(options);
  const device = world.iommufd.bind(unit);
  const ioasId = world.iommufd.ioasAlloc();
  const hwpt = (flags = 0, ptId = ioasId) =>
    world.iommufd.hwptAlloc({ flags, devId: device.id, ptId });
  return { ...world, unit, device, ioasId, hwpt };
}
