// Where the tests of this room run: sockets and descriptors in memory, or the kernel's own.
import { readlinkSync } from 'node:fs';
import { OsError } from '../../base/errors.js';
import { systemClock } from '../../os/clock.js';
import type { Fd } from '../../os/fd.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import type { SocketOs, StreamSocket } from '../../os/socket-types.js';
import { OsSockets } from '../../os/sockets.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import { FdTable } from './fd-table.js';
import { pipePair } from './pipe.js';

export interface World {
  /** For sockets whose descriptors travel. */
  readonly sockets: Pick<SocketOs, 'pair' | 'stream'>;
  pair(): [StreamSocket, StreamSocket];
  /** A descriptor of a new file with this name. */
  open(name: string): Fd;
  nameOf(fd: Fd): string | undefined;
  /** Sockets and files of this world that are open. */
  left(): string[];
}

export function memoryWorld(): World {
  const table = new FdTable();
  const streams = new Map<Fd, StreamSocket>();
  return {
    sockets: {
      pair() {
        const pair = pipePair(table);
        for (const socket of pair) streams.set(socket.fd, socket);
        return [pair[0].fd, pair[1].fd];
      },
      stream(fd) {
        const socket = streams.get(fd);
        if (socket === undefined) throw new OsError('ENOTSOCK', 'poll');
        return socket;
      },
    },
    pair: () => pipePair(table),
    open: (name) => table.open(name),
    nameOf: (fd) => table.nameOf(fd),
    left: () => table.left,
  };
}

function shortName(link: string): string {
  return link.replace(/^\/memfd:lessor-test-(.*) \(deleted\)$/, '$1');
}

export function kernelWorld(): World {
  const native = loadNative();
  const sockets = new OsSockets(native, systemClock);
  const memory = createMemoryOs(native);
  const before = new Set(openDescriptors().keys());
  return {
    sockets,
    pair() {
      const [one, other] = sockets.pair();
      return [sockets.stream(one), sockets.stream(other)];
    },
    open: (name) => memory.create(`lessor-test-${name}`, 4096),
    nameOf: (fd) => shortName(readlinkSync(`/proc/self/fd/${fd.number}`)),
    left() {
      const opened = [...openDescriptors()].filter(([number]) => !before.has(number));
      const names = opened.map(([, link]) => shortName(link));
      return names.filter((name) => !name.startsWith('anon_inode') && !name.startsWith('/'));
    },
  };
}

export const worlds = [
  ['in memory', memoryWorld],
  ['on the kernel', kernelWorld],
] as const;

let patienceMs = 2000;

/** How long `until` waits, for runs in which many tests are meant to fail. */
export function setPatienceMs(value: number): void {
  patienceMs = value;
}

/** Waits for `condition`, turn by turn of the event loop; fails after about two seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const limitMs = systemClock.nowMs() + patienceMs;
  while (!condition()) {
    if (systemClock.nowMs() > limitMs) throw new TypeError(`timed out: ${what}`);
    await new Promise(setImmediate);
  }
}

/** Lets everything that is under way arrive. */
export async function turns(count = 6): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}
