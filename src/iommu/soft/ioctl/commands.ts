// Every request of /dev/iommu, by its number.
import type { Command } from './command.js';
import { hwInfo, hwptAlloc, hwptInvalidate } from './hwpt-calls.js';
import { allowIovas, destroy, ioasAlloc, iovaRanges } from './ioas-calls.js';
import { mapFile, unmap } from './map-calls.js';
import {
  hwQueueAlloc,
  noiommuGetPa,
  vdeviceAlloc,
  veventqAlloc,
  viommuAlloc,
} from './viommu-calls.js';

export const commands: readonly Command[] = [
  destroy,
  ioasAlloc,
  allowIovas,
  iovaRanges,
  unmap,
  hwptAlloc,
  hwInfo,
  hwptInvalidate,
  mapFile,
  viommuAlloc,
  vdeviceAlloc,
  veventqAlloc,
  hwQueueAlloc,
  noiommuGetPa,
];
