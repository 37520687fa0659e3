// What several groups ask of a guest, a wire or a server process.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import {
  regionAccess,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
} from '../../../src/uapi/vfio-user.js';
import { eventually } from '../lab.js';
import type { PciSlot } from '../pci.js';
import type { Qemu } from '../qemu/qemu.js';
import type { Qtest } from '../qemu/qtest.js';
import type { Seen, Tap } from '../tap.js';

/** Guest memory that cases use: below 128 MiB, above what firmware owns. */
export const guestMemory = {
  msi: 0x0020_0000,
  msix: 0x0020_1000,
  source: 0x0030_0000,
  destination: 0x0038_0000,
  rings: 0x0040_0000,
} as const;

const headerBytes = 16;

export function payloadOf(message: Seen): Uint8Array {
  return message.bytes.subarray(headerBytes);
}

export interface SeenAccess {
  readonly region: number;
  readonly offset: number;
  readonly count: number;
  readonly isPosted: boolean;
}

/** Accesses to one region that went by message. */
export function accesses(
  tap: Tap,
  kind: 'read' | 'write',
  region: number,
  sinceIndex = 0,
): readonly SeenAccess[] {
  const command = kind === 'read' ? VFIO_USER_REGION_READ : VFIO_USER_REGION_WRITE;
  return tap
    .of(command, 'client', sinceIndex)
    .map((message) => ({
      ...regionAccess.decodeAt(message.bytes, headerBytes),
      isPosted: (message.flags & VFIO_USER_F_NO_REPLY) !== 0,
    }))
    .filter((access) => access.region === region);
}

/** Replies that say something failed. */
export function errorReplies(tap: Tap, sinceIndex = 0): readonly Seen[] {
  return tap.seen
    .slice(sinceIndex)
    .filter(({ isReply, flags }) => isReply && (flags & VFIO_USER_F_ERROR) !== 0);
}

export async function memoryBecomes(qtest: Qtest, address: number, value: number): Promise<void> {
  const at = `0x${address.toString(16)}`;
  await eventually(
    async () => (await qtest.read32(address)) === value,
    `${at} to hold 0x${value.toString(16)}`,
  );
}

/** Bytes that differ from place to place. */
export function pattern(lengthBytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, index) => (index * 167 + seed * 31) & 0xff);
}

/** What QMP says of the function in a slot of the root bus. */
export async function queryPci(qemu: Qemu, slot: number): Promise<QmpPciDevice> {
  const buses = (await qemu.qmp.command('query-pci')) as readonly { devices: QmpPciDevice[] }[];
  const found = buses.flatMap(({ devices }) => devices).find((each) => each.slot === slot);
  assert.ok(found, `slot ${slot} is empty`);
  return found;
}

export interface QmpPciDevice {
  readonly slot: number;
  readonly id: { readonly vendor: number; readonly device: number };
  readonly class_info: { readonly class: number };
  readonly regions: readonly { readonly bar: number; readonly size: number }[];
}

/** Everything of a client that a server process can still hold. */
export function holdings(pid: number): readonly string[] {
  const folder = `/proc/${pid}/fd`;
  const links = readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(`${folder}/${fd}`)];
    } catch {
      return [];
    }
  });
  const kinds = links.map((link) => link.replace(/\d+/g, 'n')).sort();
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  const guestMaps = maps.filter(isGuests).map(() => 'map of /memfd:memory-backend');
  return [...kinds, ...guestMaps];
}

/** A guest's memory, as a descriptor or mapped. */
export function isGuests(holding: string): boolean {
  return holding.includes('memfd:memory-backend');
}

/** Waits until a server holds what it held before, and names what it holds more. */
export async function holdsAsBefore(pid: number, before: readonly string[]): Promise<void> {
  let now: readonly string[] = [];
  try {
    await eventually(() => {
      now = holdings(pid);
      return now.join('\n') === before.join('\n');
    }, 'the server lets go');
  } catch {
    assert.deepEqual(now, before);
  }
}

/** Bits of COMMAND that a driver sets. */
export const commandOn = 0x6;

/** Places the BARs of a function and switches it on. */
export async function bringUp(pci: PciSlot): Promise<void> {
  await pci.placeBars();
  await pci.command(commandOn);
}
