// lessor/driver: for authors of drivers, and for brokers that load them.
export type { Isolation } from '../base/labels.js';
export type { Logger } from '../base/log.js';
export type { Schema } from '../base/schema.js';
export type {
  FunctionEvent,
  FunctionInfo,
  PciFunction,
  RegionRange,
  Registers,
} from '../function/types.js';
export { eduDriver } from './edu/driver.js';
export type { EduDriverOptions } from './edu/options.js';
export { type LoadOptions, loadDriver, matchDriver } from './load.js';
export { mqdmaDriver } from './mqdma/driver.js';
export {
  type MqdmaDriverOptions,
  type MqdmaIsolation,
  mqdmaIsolations,
} from './mqdma/options.js';
export {
  type Driver,
  type DriverHost,
  defineDriver,
  type RunningDriver,
  type ScratchMemory,
  type Slice,
  type SliceFault,
  type Terms,
  type WindowSpec,
} from './types.js';
export { validateSlices } from './validate.js';
