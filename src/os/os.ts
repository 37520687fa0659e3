// The operating system of this machine, over the native binding.
import { systemClock } from './clock.js';
import { OsEvents } from './events.js';
import { OsHelperPool } from './helper/pool.js';
import { createIoctlOs } from './ioctl.js';
import { createMemoryOs } from './memory.js';
import { loadNative, type NativeBinding } from './native.js';
import type { Os } from './os-types.js';
import { OsProcesses } from './processes.js';
import { randomHex } from './random.js';
import { OsSockets } from './sockets.js';

/**
 * Everything the rooms above need of the operating system. One per thread; more cost nothing.
 *
 * @param binding - The addon, or something in its place: tests pass `FaultyOs`.
 * @throws LessorError `NATIVE_MISSING`
 */
export function createOs(binding: NativeBinding = loadNative()): Os {
  return {
    memory: createMemoryOs(binding),
    sockets: new OsSockets(binding, systemClock),
    events: new OsEvents(binding),
    processes: new OsProcesses(binding),
    ioctl: createIoctlOs(binding),
    clock: systemClock,
    randomHex,
    createHelpers: () => new OsHelperPool(binding, systemClock),
  };
}
