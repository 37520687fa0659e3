// The memory that accesses go to: three pages of one object, told apart by what they hold.
import type { Fd } from '../../../src/os/fd.js';
import type { MemoryOs } from '../../../src/os/memory-types.js';
import type { Access } from './cells.js';
import type { Moved } from './outcome.js';

export const pageBytes = 4096;
/** Half of it before the page ends where a hole begins. */
export const transferBytes = 8;

/** `target` is where an access should go, `other` what stands there after a replace. */
export const pageNames = ['scratch', 'target', 'other'] as const;
export type PageName = (typeof pageNames)[number];

/** What each page is filled with; `device` is what the device holds before. */
const fills = { scratch: 0x11, target: 0x22, other: 0x33, device: 0x44 } as const;

export class MatrixMemory implements Disposable {
  readonly fd: Fd;
  readonly #bytes: Uint8Array;
  readonly #mapping: Disposable;

  constructor(memory: MemoryOs) {
    const lengthBytes = pageNames.length * pageBytes;
    this.fd = memory.create('lessor-fault-matrix', lengthBytes);
    const mapping = memory.map(this.fd, { offsetBytes: 0, lengthBytes, writable: true });
    this.#mapping = mapping;
    this.#bytes = new Uint8Array(mapping.buffer);
    this.fill();
  }

  page(name: PageName): Uint8Array {
    const at = this.offsetOf(name);
    return this.#bytes.subarray(at, at + pageBytes);
  }

  offsetOf(name: PageName): number {
    return pageNames.indexOf(name) * pageBytes;
  }

  /** As every access finds it. */
  fill(): void {
    for (const name of pageNames) this.page(name).fill(fills[name]);
  }

  /**
   * What an access moved.
   *
   * @param device - What the device holds after a read.
   * @param offsetBytes - Of the access in its page.
   */
  movedBy(access: Access, device: Uint8Array, offsetBytes: number): Moved {
    return access === 'read' ? this.#movedInto(device) : this.#movedOut(offsetBytes);
  }

  #movedInto(device: Uint8Array): Moved {
    const half = transferBytes / 2;
    if (isFull(device, fills.target)) return 'all';
    if (isFull(device, fills.other)) return 'other memory';
    if (isFull(device.subarray(0, half), fills.target)) {
      return device.subarray(half).includes(fills.target) ? 'something else' : 'up to the hole';
    }
    const has = device.includes(fills.target) || device.includes(fills.other);
    return has ? 'something else' : 'nothing';
  }

  #movedOut(offsetBytes: number): Moved {
    const target = changedRange(this.page('target'), fills.target);
    const other = changedRange(this.page('other'), fills.other);
    if (target === undefined && other === undefined) return 'nothing';
    const whole = `${offsetBytes}+${transferBytes}`;
    if (target === whole && other === undefined) return 'all';
    if (target === undefined && other === whole) return 'other memory';
    const isHalf = target === `${offsetBytes}+${transferBytes / 2}` && other === undefined;
    return isHalf ? 'up to the hole' : 'something else';
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
    this.fd.close();
  }
}

/** What a device holds before an access: only this does a write move. */
export function deviceBytes(): Uint8Array {
  return new Uint8Array(transferBytes).fill(fills.device);
}

function isFull(bytes: Uint8Array, value: number): boolean {
  return bytes.every((byte) => byte === value);
}

/** `first+length` of what holds the device's bytes; undefined when the page is as it was. */
function changedRange(page: Uint8Array, fill: number): string | undefined {
  const first = page.findIndex((byte) => byte !== fill);
  if (first < 0) return undefined;
  const last = page.findLastIndex((byte) => byte !== fill);
  const range = page.subarray(first, last + 1);
  return isFull(range, fills.device) ? `${first}+${range.length}` : 'other bytes';
}
