// Every request of /dev/iommu, by its number.
import type { Command } from './command.js';
import { hwptAlloc } from './hwpt-calls.js';
import { allowIovas, destroy, ioasAlloc, iovaRanges } from './ioas-calls.js';
import { mapFile, unmap } from './map-calls.js';
import { hwQueueAlloc, noiommuGetPa, vdeviceAlloc, veventqAlloc } from './viommu-calls.js';

export const commands: readonly Command[] = [
  destroy,
  ioasAlloc,
  iovaRanges,
  allowIovas,
  mapFile,
  unmap,
  hwptAlloc,
  vdeviceAlloc,
  veventqAlloc,
  hwQueueAlloc,
  noiommuGetPa,
];
