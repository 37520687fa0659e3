// Every request of /dev/iommu, by its number.
import type { Command } from './command.js';
import { getDirtyBitmap, setDirtyTracking } from './dirty-calls.js';
import { faultQueueAlloc } from './fault-calls.js';
import { hwInfo, hwptAlloc, hwptInvalidate } from './hwpt-calls.js';
import { allowIovas, destroy, ioasAlloc, iovaRanges } from './ioas-calls.js';
import { copy, map, mapFile, unmap } from './map-calls.js';
import { changeProcess, option, vfioIoas } from './option-calls.js';
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
  copy,
  iovaRanges,
  map,
  unmap,
  option,
  vfioIoas,
  hwptAlloc,
  hwInfo,
  setDirtyTracking,
  getDirtyBitmap,
  hwptInvalidate,
  faultQueueAlloc,
  mapFile,
  viommuAlloc,
  vdeviceAlloc,
  changeProcess,
  veventqAlloc,
  hwQueueAlloc,
  noiommuGetPa,
];
