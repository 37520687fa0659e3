// How a worker that hosts devices by name gets an mqdma.
import { MqdmaDevice, type MqdmaOptions } from './device.js';

/** @throws LessorError `INVALID_ARGUMENT` */
export function createMqdma(options: MqdmaOptions): MqdmaDevice {
  return new MqdmaDevice(options);
}
