// `lessor acquire`: hold a lease in the foreground, or become a program that holds it.
import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { LessorError } from '../base/errors.js';
import type { AcquireRequest } from '../client/client.js';
import { connect } from '../client/index.js';
import { createOs, resolveInPath } from '../os/index.js';
import { parseBytes, parseCount, parseDurationMs } from './arguments.js';
import { printJson, tell } from './output.js';
import { qemuArguments, shellWords } from './qemu-words.js';
import { socketOf } from './sockets.js';

interface AcquireOptions {
  readonly kind?: string;
  readonly slice?: string;
  readonly memory: number;
  readonly vectors?: number;
  readonly isolation?: string;
  readonly revocation?: string;
  readonly mapped?: boolean;
  readonly exclusive?: boolean;
  readonly ttl?: number;
  readonly wait?: number;
  readonly listen?: string;
  readonly json?: boolean;
}

function requestOf(options: AcquireOptions): AcquireRequest {
  const { kind, slice, memory, vectors, isolation, revocation, mapped } = options;
  const { exclusive, ttl, wait } = options;
  return {
    memoryBytes: memory,
    ...(kind === undefined ? {} : { kind }),
    ...(slice === undefined ? {} : { slice }),
    ...(vectors === undefined ? {} : { vectors }),
    ...(isolation === undefined ? {} : { isolation }),
    ...(revocation === undefined ? {} : { revocation }),
    ...(mapped === undefined ? {} : { mapped }),
    ...(exclusive === undefined ? {} : { exclusive }),
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
    ...(wait === undefined ? {} : { waitMs: wait }),
  };
}

/** What a shell answers for a command that could not be run. */
const notRun = 127;

function giveUp(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  writeSync(2, `lessor: ${message}\n`);
  return createOs().processes.exitNow(notRun);
}

async function become(
  words: readonly string[],
  options: AcquireOptions,
  command: Command,
): Promise<void> {
  const [name = ''] = words;
  let path: string;
  try {
    // Resolved before the lease is taken: a typing error must not cost a slice.
    path = resolveInPath(name, process.env);
  } catch (error) {
    giveUp(error);
  }
  const client = await connect({ socket: socketOf(command) });
  const handover = await client.acquireForHandover(requestOf(options));
  try {
    client.exec(handover, path, words);
  } catch (error) {
    giveUp(error);
  }
}

async function hold(options: AcquireOptions, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    await using lease = await client.acquire(requestOf(options));
    const stop = (): void => {
      lease.close().catch(() => undefined);
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    // Said last: whoever reads it may send a signal at once.
    if (options.json) printJson(lease.record);
    else tell(`holding ${lease.record.slice} as ${lease.record.id}; Ctrl-C releases it`);
    const end = await lease.ended;
    tell(`ended: ${end.reason}`);
    if (!end.released) throw new LessorError('LEASE_REVOKED', end.reason);
  } finally {
    client.close();
  }
}

/** Holds a lease that a VM monitor uses, until it is done with it. */
async function serveMonitor(
  path: string,
  options: AcquireOptions,
  command: Command,
): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    await using lease = await client.acquire({ ...requestOf(options), listen: { path } });
    const stop = (): void => {
      lease.close().catch(() => undefined);
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    lease.on('connected', ({ pid }) => tell(`process ${pid} has the lease`));
    lease.on('refused', ({ reason }) => tell(`refused to it: ${reason}`));
    lease.on('revoking', ({ reason, graceMs }) => tell(`ends in ${graceMs} ms: ${reason}`));
    lease.on('fault', ({ iova, access }) => tell(`fault: ${access} at 0x${iova.toString(16)}`));
    const { record } = lease;
    const qemu = qemuArguments(path, options.memory);
    if (options.json) {
      printJson({ ...record, listen: path, qemu });
    } else {
      tell(`holding ${record.slice} as ${record.id} for a VM monitor; Ctrl-C releases it`);
      tell(`  qemu-system-x86_64 ${shellWords(qemu)}`);
    }
    const end = await lease.ended;
    tell(`ended: ${end.reason}`);
    if (!end.released) throw new LessorError('LEASE_REVOKED', end.reason);
  } finally {
    client.close();
  }
}

function run(words: readonly string[], options: AcquireOptions, command: Command): Promise<void> {
  const { listen } = options;
  if (listen === undefined)
    return words.length > 0 ? become(words, options, command) : hold(options, command);
  if (words.length === 0) return serveMonitor(resolve(listen), options, command);
  throw new LessorError('INVALID_ARGUMENT', '--listen and a command', {
    hint: 'the VM monitor holds the lease, or the command does',
  });
}

export function addAcquireCommand(program: Command): void {
  program
    .command('acquire')
    .description('take a lease; with a command, become that program holding it')
    .argument('[command...]', 'program and its arguments, after --')
    .option('--kind <kind>', 'kind of slice')
    .option('--slice <name>', 'this very slice')
    .option('--memory <bytes>', 'size of the IOVA window', parseBytes, 1024 * 1024)
    .option('--vectors <count>', 'interrupts', parseCount)
    .option('--isolation <minimum>', 'pasid, exclusive, device-bounds, server or cooperative')
    .option('--revocation <minimum>', 'mediated, kernel, orphan or process')
    .option('--mapped', 'have registers mapped: by message alone will not do')
    .option('--exclusive', 'be the only lease on the function')
    .option('--ttl <time>', 'end by itself after this time', parseDurationMs)
    .option('--wait <time>', 'wait in the queue for a free slice', parseDurationMs)
    .option('--listen <path>', 'let a VM monitor connect to this socket and use the lease')
    .option('--json', 'the lease as JSON on stdout')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The program finds the lease fd and its control connection at descriptors 3 and 4
(LISTEN_FDS=2, LISTEN_FDNAMES=lease:control); Lease.fromEnvironment() takes both.

Examples:
  lessor acquire --memory 64k --json
  lessor acquire --kind queue --ttl 5m -- node worker.js
  lessor acquire --memory 2g --listen /run/vm1/queue.sock`,
    )
    .action(run);
}
