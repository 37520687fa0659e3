// The vfio-user underside: a function that another process serves.
import { LessorError, OsError } from '../../base/errors.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { PCI_CFG_SPACE_SIZE } from '../../device/config-space.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { Os } from '../../os/os-types.js';
import type { StreamSocket } from '../../os/socket-types.js';
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../../uapi/vfio.js';
import { connectReconnecting, type ReconnectOptions } from '../../vfio-user/reconnect.js';
import type { PciFunction } from '../types.js';
import { enableFunction } from './command-register.js';
import { describeDevice, withWindows } from './device-facts.js';
import { VfioUserFunction } from './vfio-user-function.js';
import { readWindowOffer } from './window-region.js';

/** What such a function needs of the operating system. */
export type VfioUserFunctionOs = Pick<Os, 'memory' | 'events' | 'clock' | 'sockets'>;

export interface VfioUserFunctionOptions {
  readonly os: VfioUserFunctionOs;
  /** For receiving from the server. Not owned. */
  readonly helpers: HelperPool;
  /** Where the server listens; the function comes back when it is served there again. */
  readonly path?: string;
  /** A connection in place of `path`: its end is the end of the function. Ownership passes. */
  readonly socket?: StreamSocket;
  /** Name of the function. */
  readonly name: string;
  readonly log?: Logger;
  /** Time for one answer of the server, which is taken for dead after it. Default 2000. */
  readonly requestDeadlineMs?: number;
  /** Time for a reset. Default 4000. */
  readonly resetMs?: number;
  /** How the client goes on when the server is away; default: for as long as it takes. */
  readonly reconnect?: Pick<ReconnectOptions, 'attemptMs' | 'backoff' | 'outageMs'>;
  /** Number of the function's life so far. Default 1. */
  readonly epoch?: number;
}

const requestDeadlineMsDefault = 2000;
/** Below the time that a broker gives to a reset. */
const resetMsDefault = 4000;

function dialOf(options: VfioUserFunctionOptions): () => StreamSocket {
  const { os, path, socket } = options;
  if ((path === undefined) === (socket === undefined)) {
    socket?.[Symbol.dispose]();
    throw new LessorError('INVALID_ARGUMENT', 'a served function has either a path or a socket');
  }
  if (path !== undefined) return () => os.sockets.connect(path);
  let left = socket;
  return () => {
    const taken = left;
    left = undefined;
    if (taken === undefined) throw new OsError('ENOTCONN', 'connect', 'there was one connection');
    return taken;
  };
}

/**
 * Connects to a server and returns the function that it serves. The caller disposes it.
 *
 * The function has no PASIDs, and all leases share one address space. Its windows are `mediated`,
 * or `kernel` on frames that the server can give memory of their own.
 * When the server dies, or does not answer in time, the function is `away`: whatever was opened,
 * mapped or read of it fails, windows and address spaces for good. Interrupts stay bound. With a
 * path it comes `back` in a new epoch once the same device is served there again.
 *
 * @throws OsError of connect or with the server's errno; ProtocolError for a device that
 *   contradicts itself; LessorError `DEADLINE_EXCEEDED`, `INVALID_ARGUMENT`.
 */
export async function createVfioUserFunction(
  options: VfioUserFunctionOptions,
): Promise<PciFunction> {
  const { os, helpers, name } = options;
  const client = await connectReconnecting({
    clock: os.clock,
    dial: dialOf(options),
    deadlineMs: options.requestDeadlineMs ?? requestDeadlineMsDefault,
    outageMs: options.path === undefined ? 0 : Number.POSITIVE_INFINITY,
    // A server could pass a descriptor whose mere closing hangs.
    capabilities: { maxMsgFds: 0 },
    screen: { helpers, uid: process.getuid?.() ?? 0 },
    // Leases end with the server, and so do their maps.
    replayMaps: false,
    restore: enableFunction,
    ...options.reconnect,
  });
  try {
    const config = await client.run((device) =>
      device.regionRead(VFIO_PCI_CONFIG_REGION_INDEX, 0, PCI_CFG_SPACE_SIZE),
    );
    await client.run(enableFunction);
    const facts = describeDevice({
      name,
      identity: client.identity,
      config,
      pageSizes: client.client?.peer.pageSizes ?? 0n,
      hostPageBytes: os.memory.pageBytes,
      epoch: options.epoch ?? 1,
    });
    const regionBytes = client.identity.regions.map(({ lengthBytes }) => lengthBytes);
    const offer = await client.run((device) =>
      readWindowOffer(device, regionBytes, facts.info.regions, os.memory.pageBytes),
    );
    return new VfioUserFunction({
      client,
      facts: offer === undefined ? facts : withWindows(facts, offer),
      offer,
      helpers,
      memory: os.memory,
      events: os.events,
      log: options.log ?? silentLogger,
      resetMs: options.resetMs ?? resetMsDefault,
    });
  } catch (error) {
    client.close();
    throw error;
  }
}
