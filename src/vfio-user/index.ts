// vfio-user on its own: serve a device on a socket, or drive a served one. Knows of no lease.

export type { RegionType, SparseArea } from '../uapi/region-caps.js';
export {
  connectVfioUser,
  type VfioUserClient,
  type VfioUserDeviceInfo,
  type VfioUserIrqInfo,
} from './client.js';
export { connectVfioUserPath, type VfioUserConnectOptions } from './connect.js';
export { type DeviceServer, type ServeDeviceOptions, serveDevice } from './device/device-server.js';

export type { DmaHandler } from './dma/handler.js';
export { type DmaBuffer, DmaTable } from './dma/table.js';
export type {
  ClientMemory,
  DmaMapRequest,
  DmaRange,
  EndpointDirtyPages,
  EndpointIrq,
  EndpointMigration,
  EndpointRegion,
  IrqChange,
  MaskEventChange,
  MigrationState,
  RegionIoFd,
  VfioUserEndpoint,
} from './endpoint.js';
export type { VfioUserIoFd } from './io-fds.js';
export type { VfioUserDirtyPages, VfioUserMigration } from './migration/client.js';
export {
  connectReconnecting,
  type ReconnectEvent,
  type ReconnectingClient,
  type ReconnectOptions,
} from './reconnect.js';
export type { BackoffTerms } from './reconnect-backoff.js';
export type { DeviceIdentity } from './reconnect-identity.js';
export type { VfioUserRegionInfo } from './region-info.js';
export type { VfioUserClientOptions } from './requester.js';
export { serveVfioUser, type VfioUserConnection, type VfioUserServerOptions } from './server.js';
export type { Capabilities, MigrationCapability } from './version.js';
export type { SmallWrite } from './write-multi-client.js';
