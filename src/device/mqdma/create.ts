// The entry that a device worker loads.
import { LessorError } from '../../base/errors.js';
import { MqdmaDevice, type MqdmaOptions } from './device.js';

const keys: ReadonlySet<string> = new Set<keyof MqdmaOptions>([
  'queueCount',
  'pageBytes',
  'pasidBits',
  'faultInjection',
]);

/** @throws LessorError `INVALID_ARGUMENT` */
export function createMqdma(options: unknown): MqdmaDevice {
  if (options === undefined) return new MqdmaDevice();
  if (typeof options !== 'object' || options === null) {
    throw new LessorError('INVALID_ARGUMENT', 'mqdma: options are not an object');
  }
  const unknown = Object.keys(options).find((key) => !keys.has(key));
  if (unknown !== undefined) {
    throw new LessorError('INVALID_ARGUMENT', `mqdma: unknown option ${unknown}`);
  }
  const { faultInjection } = options as { faultInjection?: unknown };
  if (faultInjection !== undefined && typeof faultInjection !== 'boolean') {
    throw new LessorError('INVALID_ARGUMENT', 'mqdma: faultInjection is not a boolean');
  }
  // The numbers are checked by the constructor.
  return new MqdmaDevice(options);
}
