// The operating system as lessor sees it. Rooms above take this as a parameter.
import type { Clock } from '../base/clock.js';
import type { EventOs } from './event-types.js';
import type { HelperPool } from './helper-types.js';
import type { IoctlOs } from './ioctl-types.js';
import type { MemoryOs } from './memory-types.js';
import type { ProcessOs } from './process-types.js';
import type { SocketOs } from './socket-types.js';

export interface Os {
  readonly memory: MemoryOs;
  readonly sockets: SocketOs;
  readonly events: EventOs;
  readonly processes: ProcessOs;
  readonly ioctl: IoctlOs;
  readonly clock: Clock;
  /** Lower-case hexadecimal of `bytes` random bytes. */
  randomHex(bytes: number): string;
  /** Starts a pool of helper processes. */
  createHelpers(): HelperPool;
}
