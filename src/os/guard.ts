// The SIGBUS guard's face: modes, the limit on windows, and the fault counters.
import { assert, OsError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { MapSpec } from './memory-types.js';
import { type MemoryCalls, type NativeGuardMode, nativeGuardModes } from './native-memory.js';
import { checkInteger } from './native-result.js';

/** Fault counters of this process, by guard slot; 0 is the total. Live in every thread. */
export function guardFaults(native: MemoryCalls): Int32Array {
  const buffer = native.guardFaults();
  assert(buffer instanceof ArrayBuffer, 'the fault counters have a buffer');
  return new Int32Array(buffer);
}

/**
 * Checks a map's numbers and gives its guard the addon's number.
 *
 * @throws OsError `EINVAL` for offsets and lengths that are no whole numbers, or a window over
 *   `limits.windowBytesMax`.
 */
export function nativeGuardMode(spec: MapSpec): NativeGuardMode {
  checkInteger(spec.offsetBytes, 'mmap', 'offset');
  checkInteger(spec.lengthBytes, 'mmap', 'length');
  // The handler needs one all-ones file as large as the window, and that memory is ours.
  if (spec.guard === 'ones' && spec.lengthBytes > limits.windowBytesMax) {
    const detail = `${spec.lengthBytes} bytes are over windowBytesMax ${limits.windowBytesMax}`;
    throw new OsError('EINVAL', 'mmap', detail);
  }
  return nativeGuardModes[spec.guard ?? 'none'];
}
