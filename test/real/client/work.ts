// The part of a client that knows its device.
import type { Lease } from '../../../src/client/lease.js';
import type { LeaseMemory } from '../../../src/client/lease-memory.js';
import type { Aim } from './calls.js';

export interface Work {
  /** One round. @returns What was wrong, or `ok`. */
  round(round: number): Promise<string>;
  submit(): Promise<void>;
  aim(aim: Aim): Promise<string>;
  /** Name of a window whose first register can be read. */
  readonly window: string;
}

export interface Workshop {
  readonly kind: string;
  readonly memoryBytes: number;
  readonly dataBytes: number;
  open(lease: Lease, data: LeaseMemory): Promise<Work>;
}

/** Bytes that tell rounds and places apart. */
export function patterned(bytes: Uint8Array, seed: number): void {
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[index] = (index * 31 + (index >>> 8) * 17 + seed * 101) & 0xff;
  }
}

/** The first byte that differs, in words. */
export function firstDifference(found: Uint8Array, wanted: Uint8Array): string | undefined {
  if (Buffer.compare(found, wanted) === 0) return undefined;
  const at = found.findIndex((byte, index) => byte !== wanted[index]);
  return `byte ${at} is ${found[at]}, not ${wanted[at]}`;
}
