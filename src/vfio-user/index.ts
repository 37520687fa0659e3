// vfio-user on its own: serve a device on a socket, or drive a served one. Knows of no lease.

export type { SparseArea } from '../uapi/region-caps.js';
export {
  connectVfioUser,
  type VfioUserClient,
  type VfioUserDeviceInfo,
  type VfioUserIrqInfo,
} from './client.js';
export type {
  DmaMapRequest,
  DmaRange,
  EndpointIrq,
  EndpointRegion,
  IrqChange,
  VfioUserEndpoint,
} from './endpoint.js';
export type { VfioUserRegionInfo } from './region-info.js';
export type { VfioUserClientOptions } from './requester.js';
export { serveVfioUser, type VfioUserConnection, type VfioUserServerOptions } from './server.js';
export type { Capabilities } from './version.js';
