// Commands that act on leases and the function: release, revoke, quarantine, reset.
import type { Command } from 'commander';
import { connect, connectAdmin } from '../client/index.js';
import { parseDurationMs } from './arguments.js';
import { leaseByPrefix } from './listing.js';
import { printJson, tell } from './output.js';
import { adminSocketOf, socketOf } from './sockets.js';

async function resolveLease(prefix: string, command: Command): Promise<string> {
  const client = await connect({ socket: socketOf(command) });
  try {
    return leaseByPrefix(await client.leases(), prefix).id;
  } finally {
    client.close();
  }
}

async function release(prefix: string, _options: object, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    const { id } = leaseByPrefix(await client.leases(), prefix);
    // The operator may end any lease; a process of its own lease needs no more than that lease.
    const admin = await connectAdmin({ socket: adminSocketOf(command) }).catch(() => undefined);
    if (admin === undefined) await client.release(id);
    else await admin.release(id).finally(() => admin.close());
    tell(`released ${id}`);
  } finally {
    client.close();
  }
}

interface RevokeOptions {
  readonly reason: string;
  readonly grace: number;
}

async function revoke(prefix: string, options: RevokeOptions, command: Command): Promise<void> {
  const id = await resolveLease(prefix, command);
  const admin = await connectAdmin({ socket: adminSocketOf(command) });
  try {
    await admin.revoke(id, { reason: options.reason, graceMs: options.grace });
    tell(`revoked ${id}`);
  } finally {
    admin.close();
  }
}

interface QuarantineOptions {
  readonly release?: string;
  readonly json?: boolean;
}

async function quarantine(options: QuarantineOptions, command: Command): Promise<void> {
  if (options.release === undefined) {
    const client = await connect({ socket: socketOf(command) });
    try {
      const { quarantined } = await client.info();
      if (options.json) return printJson(quarantined);
      for (const name of quarantined) process.stdout.write(`${name}\n`);
    } finally {
      client.close();
    }
    return;
  }
  const admin = await connectAdmin({ socket: adminSocketOf(command) });
  try {
    await admin.releaseQuarantine(options.release);
    tell(`${options.release} is free again`);
  } finally {
    admin.close();
  }
}

async function reset(options: { reason: string }, command: Command): Promise<void> {
  const admin = await connectAdmin({ socket: adminSocketOf(command) });
  try {
    const epoch = await admin.reset(options.reason);
    tell(`the function was reset; epoch ${epoch}`);
  } finally {
    admin.close();
  }
}

export function addOperatorCommands(program: Command): void {
  program
    .command('release')
    .description('give a lease back in the place of its holder')
    .argument('<lease>')
    .action(release);
  program
    .command('revoke')
    .description("end a lease against its holder's will")
    .argument('<lease>')
    .option('--reason <text>', 'told to the holder', '')
    .option('--grace <time>', 'time to wind down', parseDurationMs, 0)
    .action(revoke);
  program
    .command('quarantine')
    .description('list slices in quarantine, or free one on your word')
    .option('--release <slice>', 'free this slice')
    .option('--json', 'JSON on stdout')
    .action(quarantine);
  program
    .command('reset')
    .description('reset the function; every lease is reclaimed')
    .option('--reason <text>', 'told to the holders', '')
    .action(reset);
}
