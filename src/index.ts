// lessor: embed a broker in your own user-space driver.
export {
  AssertionFailure,
  type ErrorCode,
  isLessorError,
  isOsError,
  isProtocolError,
  LessorError,
  OsError,
  ProtocolError,
} from './base/errors.js';
export type { Isolation, Revocation } from './base/labels.js';
export { limits } from './base/limits.js';
export type { LogFields, Logger } from './base/log.js';
export { silentLogger } from './base/log.js';
export { type Broker, createBroker } from './broker/broker.js';
export {
  createEmbeddedEdu,
  createEmbeddedMqdma,
  type EmbeddedMqdmaOptions,
  type EmbeddedOptions,
} from './broker/embedded.js';
export type { BrokerOptions, Deadlines, Switches } from './broker/options.js';
export { loadDriver, matchDriver } from './driver/index.js';
export type { FunctionInfo, PciFunction } from './function/types.js';
export {
  createVfioUserFunction,
  type VfioUserFunctionOptions,
} from './function/vfio-user/index.js';
export { createOs } from './os/index.js';
export type { Os } from './os/os-types.js';
