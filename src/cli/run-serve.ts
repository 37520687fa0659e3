// What `lessor serve` does: brings function, driver and broker up, and ends them in order.
import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Logger } from '../base/log.js';
import { createBroker } from '../broker/broker.js';
import { createEmbeddedEdu, createEmbeddedMqdma } from '../broker/embedded.js';
import { openFunctionSource } from '../broker/function-source.js';
import { deadlinesWithPatience } from '../broker/options.js';
import { adminPathOf, makeRunDirectory, ownRunDirectory } from '../client/run-directory.js';
import { eduDriver, loadDriver, matchDriver } from '../driver/index.js';
import type { Driver } from '../driver/types.js';
import type { PciFunction } from '../function/types.js';
import { parseDmaBufFeatures } from '../function/vfio/dma-buf-features.js';
import type { HelperPool } from '../os/helper-types.js';
import { createOs, type Os } from '../os/index.js';
import { exitStatus } from './exit.js';
import { createLogger, isLogLevel } from './log.js';
import { printJsonLine, tell } from './output.js';

export interface ServeOptions {
  readonly driver?: string;
  readonly isolation?: string;
  readonly function?: string;
  readonly queues: number;
  readonly name?: string;
  readonly allowCooperative?: boolean;
  readonly allowUnsealedMemory?: boolean;
  readonly forceDmaBufWindows?: boolean;
  readonly dmaBufFeatures: string;
  readonly allowProcess?: boolean;
  readonly patience: number;
  readonly faultInjection?: boolean;
  readonly log: string;
  readonly json?: boolean;
  readonly leakDescriptor?: boolean;
}

function socketPathFor(name: string, command: Command): string {
  const { socket } = command.optsWithGlobals<{ socket?: string }>();
  if (socket !== undefined) return socket;
  const uid = process.getuid?.() ?? 0;
  const directory = ownRunDirectory(process.env, uid);
  makeRunDirectory(directory, uid);
  return join(directory, `${name}.sock`);
}

interface Parts {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly name: string;
  readonly log: Logger;
}

/** The function that was named, or one of this process that suits the driver. */
async function openFunction(
  options: ServeOptions,
  driver: Driver<unknown> | undefined,
  parts: Parts,
): Promise<PciFunction> {
  const { queues: queueCount, faultInjection = false, function: source } = options;
  const dmaBufFeatures = parseDmaBufFeatures(options.dmaBufFeatures);
  if (source !== undefined) return openFunctionSource({ ...parts, source, dmaBufFeatures });
  if (driver === eduDriver) return createEmbeddedEdu(parts);
  return createEmbeddedMqdma({ ...parts, queueCount, faultInjection });
}

/** @throws LessorError `DRIVER_NOT_FOUND`, with the function given up. */
async function driverFor(fn: PciFunction): Promise<Driver<unknown>> {
  try {
    return matchDriver(fn.info);
  } catch (error) {
    await fn[Symbol.asyncDispose]();
    throw error;
  }
}

/** Owns a function and leases its slices until a signal. */
export async function serve(options: ServeOptions, command: Command): Promise<void> {
  const log = createLogger(isLogLevel(options.log) ? options.log : 'warn');
  const os = createOs();
  const helpers = os.createHelpers();
  const name = options.name ?? (options.driver === eduDriver.name ? 'edu0' : 'mqdma0');
  const socketPath = socketPathFor(name, command);
  // A broker holds other processes' secrets: no core dumps, no ptrace, no /proc for its uid.
  os.processes.setDumpable(false);
  const uid = os.processes.uid;
  const named =
    options.driver === undefined ? undefined : await loadDriver(options.driver, { uid });
  const fn = await openFunction(options, named, { os, helpers, name, log });
  const driver = named ?? (await driverFor(fn));
  const broker = await createBroker({
    os,
    helpers,
    fn,
    driver,
    driverOptions: options.isolation === undefined ? {} : { isolation: options.isolation },
    socketPath,
    adminPath: adminPathOf(socketPath),
    switches: {
      allowCooperative: options.allowCooperative ?? false,
      allowUnsealedMemory: options.allowUnsealedMemory ?? false,
      forceDmaBufWindows: options.forceDmaBufWindows ?? false,
      allowProcess: options.allowProcess ?? false,
      faultInjection: options.faultInjection ?? false,
    },
    deadlines: deadlinesWithPatience(options.patience),
    log,
    onBug: (error) => crash(error),
  });
  const crash = (error: unknown): void => {
    tell(`lessor: a bug in lessor: ${error instanceof Error ? error.stack : String(error)}`);
    void broker.close().finally(() => process.exit(exitStatus.bug));
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  if (options.leakDescriptor) broker.onEnded(() => openSync('/dev/null', 'r'));
  const stop = (): void => {
    broker.close().catch(crash);
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  // Said last: whoever reads it may send a signal at once.
  if (options.json) printJsonLine({ socket: socketPath, pid: process.pid });
  else tell(`lessor: ${fn.info.name} (${broker.isolation}) on ${socketPath}`);
  await broker.closed;
  await helpers[Symbol.asyncDispose]();
}
