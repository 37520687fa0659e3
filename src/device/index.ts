// What the author of a device needs, and the devices that come along.

export { CounterDevice, createCounter } from './counter/device.js';
export { createEdu, EduDevice, type EduOptions } from './edu/device.js';
export { createMqdma } from './mqdma/create.js';
export { MqdmaDevice, type MqdmaOptions } from './mqdma/device.js';
export type {
  Bus,
  BusFault,
  DeviceConfig,
  DeviceMigration,
  DeviceRegion,
  DirectMemory,
  DoorbellSpec,
  Frame,
  FrameSpec,
  PciDevice,
  StepResult,
  Value,
  Width,
} from './types.js';
