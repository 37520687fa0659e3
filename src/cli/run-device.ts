// What `lessor device` does: serves a device until a signal, or lists what there is.
import { isOsError, LessorError } from '../base/errors.js';
import { createOs } from '../os/index.js';
import { claimSocketPath } from '../os/socket-claim.js';
import { serveDevice } from '../vfio-user/index.js';
import { createDevice, type DeviceOptions, deviceKinds, pciId } from './device-kinds.js';
import { exitStatus } from './exit.js';
import { createLogger, isLogLevel } from './log.js';
import { printJson, printJsonLine, printTable, tell } from './output.js';

export interface ServeDeviceOptions extends DeviceOptions {
  readonly listen: string;
  readonly mode: number;
  readonly dma: 'direct' | 'message';
  readonly detachableWindows?: boolean;
  readonly log: string;
  readonly json?: boolean;
}

/** Says of a path what can be done about it. */
function explained(error: unknown, path: string): unknown {
  if (isOsError(error, 'EADDRINUSE')) {
    return new LessorError('ADDRESS_IN_USE', `somebody listens on ${path}`, { cause: error });
  }
  if (isOsError(error, 'EACCES') || isOsError(error, 'EROFS')) {
    const hint = 'choose a folder that you may write to';
    return new LessorError('DENIED', `no socket can be made at ${path}`, { hint, cause: error });
  }
  return error;
}

/** Serves the device named `name` until SIGINT or SIGTERM, then removes its socket. */
export async function serveNamedDevice(name: string, options: ServeDeviceOptions): Promise<void> {
  const { listen: path, mode, dma, detachableWindows = false } = options;
  const log = createLogger(isLogLevel(options.log) ? options.log : 'warn');
  const os = createOs();
  const device = createDevice(name, options, log);
  let server: Awaited<ReturnType<typeof serveDevice>>;
  try {
    if (!claimSocketPath(os.sockets, path)) {
      throw new LessorError('ADDRESS_IN_USE', `somebody listens on ${path}`);
    }
    server = await serveDevice(device, {
      ...{ path, mode, os, log, dma, detachableWindows, name },
    });
  } catch (error) {
    throw explained(error, path);
  }
  const crash = (error: unknown): void => {
    tell(`lessor: a bug in lessor: ${error instanceof Error ? error.stack : String(error)}`);
    void server[Symbol.asyncDispose]().finally(() => process.exit(exitStatus.bug));
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  const stop = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  // Said last: whoever reads it may send a signal at once.
  if (options.json) printJsonLine({ device: name, listen: path, pid: process.pid });
  else tell(`lessor: ${name} (${pciId(device.config)}) on ${path}`);
  await stop;
  await server[Symbol.asyncDispose]();
}

export function listDevices(json: boolean): void {
  const rows = Object.entries(deviceKinds).map(([name, kind]) => ({
    name,
    pciId: pciId(createDevice(name, {}, createLogger('error')).config),
    description: kind.description,
  }));
  if (json) printJson(rows);
  else {
    printTable(rows, [
      { title: 'DEVICE', cell: (row) => row.name },
      { title: 'PCI ID', cell: (row) => row.pciId },
      { title: 'WHAT', cell: (row) => row.description },
    ]);
  }
}
