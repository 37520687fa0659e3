// A rule of the protocol: what is sent, what must come back, and the run that proves it. The
// tables beside this file are what `rules.test.ts` runs and what docs/internals lists.
import { strict as assert } from 'node:assert';
import type { Errno } from '../../../base/errno.js';
import type { Fd } from '../../../os/fd.js';
import * as u from '../../../uapi/vfio-user.js';
import type { World } from '../world.js';

export interface Rule {
  /** Stable: role, subject and case. */
  readonly id: string;
  /** What is out of the ordinary in what is sent, or what a proper message brings about. */
  readonly says: string;
  /** What is sent, in short. */
  readonly sends: string;
  /** What must come back, and what becomes of the connection. */
  readonly wants: string;
  /** Rejects when the rule does not hold, or when anything is left open. */
  run(createWorld: () => World): Promise<void>;
}

const commandNames = new Map<number, string>(
  Object.entries(u).flatMap(([name, value]) => {
    const isCommand = /^VFIO_USER_(?!F_|M|IO_)[A-Z_]+$|^VFIO_USER_MIG_DATA/.test(name);
    return isCommand && typeof value === 'number' ? [[value, name.slice(10)]] : [];
  }),
);

export function commandName(command: number): string {
  return commandNames.get(command) ?? `command ${command}`;
}

/** How the page shows a message. */
export function messageText(
  command: number,
  payload: Uint8Array,
  changes: object,
  fdCount: number,
): string {
  const parts = [commandName(command)];
  if (payload.length > 0) parts.push(`${payload.length} bytes`);
  for (const [name, value] of Object.entries(changes)) {
    parts.push(`${name} ${name === 'flags' ? `0x${value.toString(16)}` : value}`);
  }
  if (fdCount > 0) parts.push(`${fdCount} descriptor${fdCount > 1 ? 's' : ''}`);
  return parts.join(', ');
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Bytes from hex, with spaces for the eye. */
export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** `payload` with the byte at `at` replaced. */
export function patched(payload: Uint8Array, at: number, value: number): Uint8Array {
  return payload.with(at, value);
}

export function openFiles(world: World, count: number): Fd[] {
  return Array.from({ length: count }, (_, index) => world.open(`file${index}`));
}

/** Test files that are still open somewhere. */
export function filesLeft(world: World): string[] {
  return world.left().filter((name) => name.startsWith('file'));
}

export type { Errno };
export { assert };
