// What the author of a device needs, and the embedded device.

export { createMqdma } from './mqdma/create.js';
export { MqdmaDevice, type MqdmaOptions } from './mqdma/device.js';
export type {
  Bus,
  BusFault,
  DeviceConfig,
  DeviceRegion,
  DirectMemory,
  Frame,
  FrameSpec,
  PciDevice,
  StepResult,
  Value,
  Width,
} from './types.js';
