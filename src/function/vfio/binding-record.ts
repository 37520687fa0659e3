// What a function was before it was given to vfio-pci, remembered until it is given back.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../base/limits.js';
import { readBounded } from './sysfs-files.js';

export interface BindingRecord {
  /** Undefined: no driver had it. */
  readonly driver: string | undefined;
  readonly driverOverride: string | undefined;
}

/** Where records are kept. */
export interface BindingRecords {
  /** Undefined: none, or none that makes sense. */
  read(address: string): BindingRecord | undefined;
  write(address: string, record: BindingRecord): void;
  remove(address: string): void;
}

const nameForm = /^[\w.:-]{1,64}$/;

/** One file for each function, in a folder that only its owner can write. */
export class BindingFolder implements BindingRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  read(address: string): BindingRecord | undefined {
    const text = readBounded(this.#path(address), limits.bindingRecordBytesMax);
    return text === undefined ? undefined : parseRecord(text);
  }

  write(address: string, { driver, driverOverride }: BindingRecord): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
    const text = JSON.stringify({
      driver: driver ?? null,
      driverOverride: driverOverride ?? null,
    });
    writeFileSync(this.#path(address), `${text}\n`, { mode: 0o644 });
  }

  remove(address: string): void {
    rmSync(this.#path(address), { force: true });
  }

  #path(address: string): string {
    return join(this.#folder, `${address}.json`);
  }
}

/** Judges a record. */
export function parseRecord(text: string): BindingRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { driver, driverOverride } = value as Record<string, unknown>;
    if (!isName(driver) || !isName(driverOverride)) return undefined;
    return { driver: driver ?? undefined, driverOverride: driverOverride ?? undefined };
  } catch {
    return undefined;
  }
}

function isName(value: unknown): value is string | null {
  return value === null || (typeof value === 'string' && nameForm.test(value));
}
