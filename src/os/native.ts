// The one place that loads the addon, and the type of what it exports. Each file of native/addon
// describes its own functions in an interface; rooms below take only the part that they need.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { LessorError } from '../base/errors.js';
import type { FdCalls } from './fd.js';
import type { EventCalls } from './native-events.js';
import type { FileCalls } from './native-files.js';
import type { MemoryCalls } from './native-memory.js';
import type { ProcessCalls } from './native-processes.js';
import type { PollCalls, SocketCalls } from './native-sockets.js';

/** Every function of the addon. */
export type NativeBinding = FdCalls &
  FileCalls &
  MemoryCalls &
  SocketCalls &
  PollCalls &
  EventCalls &
  ProcessCalls;

// From dist/src/os/.
const addonPath = fileURLToPath(new URL('../../../build/lessor.node', import.meta.url));

/**
 * Loads the addon; Node keeps one instance per thread, so that calling again costs nothing.
 *
 * @throws LessorError `NATIVE_MISSING` when it was not built, or not for this Node and machine.
 */
export function loadNative(path: string = addonPath): NativeBinding {
  try {
    return createRequire(import.meta.url)(path) as NativeBinding;
  } catch (cause) {
    throw new LessorError('NATIVE_MISSING', `the native addon ${path} cannot be loaded`, { cause });
  }
}
