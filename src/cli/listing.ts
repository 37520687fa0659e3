// Commands that show: status, functions, leases, show, events.
import type { Command } from 'commander';
import { LessorError } from '../base/errors.js';
import { hex } from '../base/units.js';
import { connect } from '../client/index.js';
import { systemClock } from '../os/clock.js';
import type { EventRecord, LeaseRecord, SliceRecord } from '../varlink/interface.js';
import { age, bytes, printJson, printLines, printTable } from './output.js';
import { socketOf } from './sockets.js';

interface JsonOption {
  readonly json?: boolean;
}

const hexId = (id: number): string => id.toString(16).padStart(4, '0');

async function status(options: JsonOption, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    const info = await client.info();
    const leases = await client.leases();
    if (options.json) return printJson({ ...info, leases });
    const fn = info.function;
    const free = info.slices.filter((slice) => slice.state === 'free').length;
    printLines([
      `broker      ${info.pid}, uid ${info.uid}, lessor ${info.version}, ${client.socketPath}`,
      `function    ${fn.name}  ${hexId(fn.vendor)}:${hexId(fn.device)}  ${fn.underside}`,
      `driver      ${fn.driver}, isolation ${fn.isolation}, epoch ${fn.epoch}`,
      `slices      ${info.slices.length}: ${free} free, ${leases.length} leased, ` +
        `${info.quarantined.length} in quarantine`,
      ...info.quarantined.map((name) => `quarantine  ${name}`),
    ]);
  } finally {
    client.close();
  }
}

async function functions(options: JsonOption, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    const info = await client.info();
    if (options.json) return printJson({ function: info.function, slices: info.slices });
    printTable<SliceRecord>(info.slices, [
      { title: 'SLICE', cell: (slice) => slice.name },
      { title: 'KIND', cell: (slice) => slice.kind },
      { title: 'STATE', cell: (slice) => slice.state },
      {
        title: 'WINDOWS',
        cell: (slice) =>
          slice.windows
            .map((window) => `${window.name} bar${window.region}+${hex(window.offset)}`)
            .join(', '),
      },
      { title: 'VECTORS', cell: (slice) => String(slice.vectors) },
      { title: 'LEASE', cell: (slice) => slice.lease?.slice(0, 8) ?? '' },
    ]);
  } finally {
    client.close();
  }
}

async function leases(options: JsonOption, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    const rows = await client.leases();
    if (options.json) return printJson(rows);
    printTable<LeaseRecord>(rows, [
      { title: 'LEASE', cell: (lease) => lease.id.slice(0, 8) },
      { title: 'SLICE', cell: (lease) => lease.slice },
      { title: 'STATE', cell: (lease) => lease.state },
      { title: 'ISOLATION', cell: (lease) => lease.isolation },
      { title: 'REVOCATION', cell: (lease) => lease.revocation },
      { title: 'UID', cell: (lease) => String(lease.uid) },
      { title: 'PID', cell: (lease) => String(lease.pid ?? '') },
      { title: 'MAPPED', cell: (lease) => bytes(lease.mappedBytes) },
      { title: 'AGE', cell: (lease) => age(systemClock.wallMs() - lease.createdMs) },
    ]);
  } finally {
    client.close();
  }
}

/** The one live lease whose id starts with `prefix`. */
export function leaseByPrefix(rows: readonly LeaseRecord[], prefix: string): LeaseRecord {
  const found = rows.filter((lease) => lease.id.startsWith(prefix));
  const [only] = found;
  if (only === undefined) throw new LessorError('LEASE_NOT_FOUND', `no lease "${prefix}"`);
  if (found.length > 1) {
    throw new LessorError('INVALID_ARGUMENT', `"${prefix}" fits ${found.length} leases`);
  }
  return only;
}

async function show(prefix: string, options: JsonOption, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  try {
    const lease = leaseByPrefix(await client.leases(), prefix);
    if (options.json) return printJson(lease);
    const window = `${hex(lease.iovaBase)}..${hex(lease.iovaBase + lease.iovaBytes)}`;
    printLines([
      `lease       ${lease.id}`,
      `slice       ${lease.slice} (${lease.kind}), epoch ${lease.epoch}`,
      `state       ${lease.state}${lease.reason ? ` (${lease.reason})` : ''}`,
      `isolation   ${lease.isolation}${lease.pasid === undefined ? '' : `, pasid ${lease.pasid}`}`,
      `revocation  ${lease.revocation}`,
      `holder      ${lease.holder}, uid ${lease.uid}, pid ${lease.pid ?? 'unknown'}`,
      `memory      ${window}, ${bytes(lease.mappedBytes)} mapped`,
      `vectors     ${lease.vectors}`,
      `created     ${new Date(lease.createdMs).toISOString()}`,
      ...(lease.expiresMs === undefined
        ? []
        : [`expires     ${new Date(lease.expiresMs).toISOString()}`]),
    ]);
  } finally {
    client.close();
  }
}

function eventLine(event: EventRecord): string {
  const parts = [
    new Date(event.atMs).toISOString(),
    event.type.padEnd(11),
    (event.lease ?? '').slice(0, 8).padEnd(8),
    (event.slice ?? '').padEnd(8),
    event.phase ?? '',
    event.micros === undefined ? '' : `${event.micros} us`,
    event.outcome ?? '',
    event.fault ? `${event.fault.access} ${hex(event.fault.iova)} ${event.fault.reason}` : '',
    event.reason ?? '',
  ];
  return parts
    .filter((part) => part !== '')
    .join('  ')
    .trimEnd();
}

async function events(options: JsonOption, command: Command): Promise<void> {
  const client = await connect({ socket: socketOf(command) });
  const monitor = client.monitor((event) => {
    process.stdout.write(`${options.json ? JSON.stringify(event) : eventLine(event)}\n`);
  });
  const stop = (): void => monitor.close();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    await monitor.done;
  } finally {
    client.close();
  }
}

export function addListingCommands(program: Command): void {
  const json: [string, string] = ['--json', 'JSON on stdout'];
  program
    .command('status')
    .description('the broker at a glance')
    .option(...json)
    .action(status);
  program
    .command('functions')
    .description('the function, its slices and what they offer')
    .option(...json)
    .action(functions);
  program
    .command('leases')
    .description('live leases')
    .option(...json)
    .action(leases);
  program
    .command('show')
    .description('one lease, by its id or the start of it')
    .argument('<lease>')
    .option(...json)
    .action(show);
  program
    .command('events')
    .description('every event from now on, a line each')
    .option(...json)
    .action(events);
}
