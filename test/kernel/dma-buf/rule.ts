// What a rule is, and what it has to check with.
import { AssertionFailure } from '../../../src/base/errors.js';
import { edu } from '../../../src/device/edu/registers.js';
import type { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import type { Exporter } from './exporter.js';
import type { Mapper } from './mapper.js';

/** What a kernel or a device may lack. */
export type Need = 'map' | 'revoke' | 'memattr' | 'other' | 'reset';

export interface World {
  readonly os: Os;
  /** The device, newly opened: whatever an earlier rule left is gone. */
  open(): Exporter;
  /** Another device, of which nothing is known; only where rules have the need `other`. */
  openOther(): Exporter;
  /** A process that maps the dma-buf without a guard. */
  start(fd: Fd): Mapper;
}

export interface Rule {
  /** A sentence of what holds. */
  readonly name: string;
  readonly needs: readonly Need[];
  /** @throws AssertionFailure with what does not hold */
  check(world: World): Promise<void>;
}

export function expectSame<T>(what: string, actual: T, wanted: T): void {
  if (actual === wanted) return;
  throw new AssertionFailure(`${what}: ${String(actual)}, not ${String(wanted)}`);
}

/** What a mapper reads from the first register. */
export const identification = `0x${edu.identification.toString(16)}`;

/** What it reads where the device has no register. */
export const nothingThere = '0xffffffff';
