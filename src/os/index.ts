// What the rooms above take from this one.

export { systemClock } from './clock.js';
export type { EventOs, EventSignaller } from './event-types.js';
export { resolveInPath } from './exec.js';
export { closeAll, Fd } from './fd.js';
export type { HelperPool, HelperTerms, Received, SealState } from './helper-types.js';
export { startIoctlThread } from './ioctl-thread.js';
export type { IoctlThread } from './ioctl-thread-types.js';
export type { IoctlOs } from './ioctl-types.js';
export * from './memory-types.js';
export { loadNative, type NativeBinding } from './native.js';
export { createOs } from './os.js';
export type { Os } from './os-types.js';
export type { ExecRequest, ProcessOs } from './process-types.js';
export type {
  BoundSocket,
  ListenerSocket,
  PeerCredentials,
  SocketOs,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from './socket-types.js';
