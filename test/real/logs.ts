// What the guest's kernel and the server on the host say while a case runs.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { deviceLogVariable } from '../vm/inside.js';

/** The first file system's, which is always there. */
const busybox = '/run/lessor-vm/busybox';
const faultLine = /DMAR: .*fault/i;

/** Lines of the kernel's log, oldest first. */
export function kernelLines(): readonly string[] {
  return execFileSync(busybox, ['dmesg'], { encoding: 'utf8' }).split('\n').filter(Boolean);
}

/** A place in the kernel's log, to read on from. */
export class KernelLog {
  #lines = kernelLines();

  /** Faults of the IOMMU since the last call. */
  takeFaults(): readonly string[] {
    const before = this.#lines;
    const lines = kernelLines();
    this.#lines = lines;
    // Lines have no time in them and come again: only their number tells an old one from a new one,
    // until the oldest are dropped.
    const last = before.at(-1) ?? '';
    const isWhole = lines[before.length - 1] === last;
    const from = isWhole ? before.length : lines.lastIndexOf(last) + 1;
    return lines.slice(from).filter((line) => faultLine.test(line));
  }
}

/** All that the server of the guest's mqdma has said on the host. */
export function hostDeviceLog(): string {
  const path = process.env[deviceLogVariable];
  return path === undefined ? '' : readFileSync(path, 'utf8');
}

/** A place in the log of a device's server. */
export class DeviceLog {
  readonly #said: () => string;
  #at: number;

  constructor(said: () => string) {
    this.#said = said;
    this.#at = said().length;
  }

  /** DMA that it refused since the last call, a line each. */
  takeRefusals(): readonly string[] {
    const text = this.#said();
    const lines = text.slice(this.#at).split('\n');
    this.#at = text.length;
    return lines.filter((line) => line.includes('DMA refused'));
  }
}
