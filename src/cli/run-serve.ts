// What `lessor serve` does: brings function, driver and broker up, and ends them in order.
import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { createBroker } from '../broker/broker.js';
import { createEmbeddedMqdma } from '../broker/embedded.js';
import { connectServedFunction } from '../broker/served.js';
import { adminPathOf, makeRunDirectory, ownRunDirectory } from '../client/run-directory.js';
import { loadDriver } from '../driver/index.js';
import { createOs } from '../os/index.js';
import { exitStatus } from './exit.js';
import { createLogger, isLogLevel } from './log.js';
import { printJsonLine, tell } from './output.js';

export interface ServeOptions {
  readonly driver: string;
  readonly isolation?: string;
  readonly function?: string;
  readonly queues: number;
  readonly name: string;
  readonly allowCooperative?: boolean;
  readonly allowUnsealedMemory?: boolean;
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

/** Owns a function and leases its slices until a signal. */
export async function serve(options: ServeOptions, command: Command): Promise<void> {
  const log = createLogger(isLogLevel(options.log) ? options.log : 'warn');
  const os = createOs();
  const helpers = os.createHelpers();
  const socketPath = socketPathFor(options.name, command);
  // A broker holds other processes' secrets: no core dumps, no ptrace, no /proc for its uid.
  os.processes.setDumpable(false);
  const driver = await loadDriver(options.driver, { uid: os.processes.uid });
  const { name } = options;
  const fn =
    options.function === undefined
      ? await createEmbeddedMqdma({
          os,
          helpers,
          name,
          queueCount: options.queues,
          faultInjection: options.faultInjection ?? false,
          log,
        })
      : await connectServedFunction({ os, helpers, name, source: options.function, log });
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
      faultInjection: options.faultInjection ?? false,
    },
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
