// Every case, cheap ones first.
import type { BenchCase } from '../case.js';
import { death } from './death.js';
import { idle } from './idle.js';
import { iommuBytes } from './iommu-bytes.js';
import { line } from './line.js';
import { mapUnmap } from './map-unmap.js';
import { mqdma } from './mqdma.js';
import { registers } from './registers.js';
import { revoke } from './revoke.js';
import { translate } from './translate.js';
import { vfioUser } from './vfio-user.js';

export const cases: readonly BenchCase[] = [
  registers,
  line,
  vfioUser,
  mqdma,
  translate,
  mapUnmap,
  iommuBytes,
  revoke,
  death,
  idle,
];
