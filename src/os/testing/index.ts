// Fakes of the operating system and failures on demand, for tests of lessor and of its users.

export { FakeClock } from './fake-clock.js';
export { FakeFile, type FakeKind } from './fake-files.js';
export { FakeKernel } from './fake-kernel.js';
export { FakeProcesses, type FakeSignal } from './fake-processes.js';
export type { FakeIdentity } from './fake-socket.js';
export { FakeSockets } from './fake-sockets.js';
export {
  type FailEveryCallOptions,
  FaultyOs,
  failEveryCall,
  type NativeCallName,
} from './faulty-os.js';
export { openCount, openDescriptors } from './open-descriptors.js';
