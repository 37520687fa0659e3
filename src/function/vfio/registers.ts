// Registers of a function in the kernel: one access of the named width each, made at once.
import { isOsError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, roundDown } from '../../base/units.js';
import type { Value, Width } from '../../device/types.js';
import type { Mapping, MemoryOs } from '../../os/memory-types.js';
import { u8, u16, u32 } from '../../uapi/struct.js';
import type { DeviceAccess } from '../message-window.js';
import type { VfioDevice, VfioRegion } from './types.js';

const fields = { 1: u8, 2: u16, 4: u32 } as const;

interface Part {
  readonly mapping: Mapping;
  readonly words: BigUint64Array;
}

/**
 * Accesses of 8 bytes go through a mapping: a read of 8 bytes is two of 4 to kernels before 6.10,
 * and nothing tells which it was.
 */
export class VfioRegisters implements DeviceAccess, Disposable {
  readonly #device: VfioDevice;
  readonly #memory: MemoryOs;
  readonly #parts = new Map<number, Part>();
  readonly #onOnes: () => void;
  /** While the function is reset nothing reaches it. */
  #gate: Promise<unknown> | undefined;
  #closed: string | undefined;

  /** @param onOnes - Called when a register read all ones or could not be reached. */
  constructor(device: VfioDevice, memory: MemoryOs, onOnes: () => void) {
    this.#device = device;
    this.#memory = memory;
    this.#onOnes = onOnes;
  }

  /** Accesses wait until it has settled. */
  holdUntil(settled: Promise<unknown>): void {
    const gate = settled.then(
      () => undefined,
      () => undefined,
    );
    this.#gate = gate;
    void gate.then(() => {
      if (this.#gate === gate) this.#gate = undefined;
    });
  }

  async read(region: number, offsetBytes: number, width: Width): Promise<Value> {
    while (this.#gate !== undefined) await this.#gate;
    const found = this.#region(region);
    const value =
      width === 8
        ? this.#read64(found, offsetBytes)
        : this.#transfer(found, offsetBytes, width, undefined);
    if (isOnes(value, width)) {
      this.#onOnes();
      this.#checkOpen();
    }
    return value;
  }

  async write(region: number, offsetBytes: number, width: Width, value: Value): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
    const found = this.#region(region);
    if (width !== 8) {
      this.#transfer(found, offsetBytes, width, Number(value));
      return;
    }
    const { part, index } = this.#partOf(found, offsetBytes);
    part.words[index] = BigInt(value);
  }

  /** From now on every access fails. Call before the device is closed. */
  close(detail: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = detail;
    for (const { mapping } of this.#parts.values()) mapping[Symbol.dispose]();
    this.#parts.clear();
  }

  [Symbol.dispose](): void {
    this.close('the function was closed');
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new LessorError('FUNCTION_GONE', this.#closed);
  }

  #region(index: number): VfioRegion {
    this.#checkOpen();
    const region = this.#device.regions.get(index);
    if (region !== undefined) return region;
    throw new LessorError('INVALID_ARGUMENT', `the function has no region ${index}`);
  }

  /** Reads, or writes `value`. */
  #transfer(
    { fileOffsetBytes, index }: VfioRegion,
    offsetBytes: number,
    width: 1 | 2 | 4,
    value: number | undefined,
  ): number {
    const { os, fd } = this.#device;
    const bytes = new Uint8Array(width);
    const at = fileOffsetBytes + offsetBytes;
    if (value !== undefined) fields[width].write(bytes, 0, value, 'register');
    let count: number;
    try {
      count = value === undefined ? os.readAt(fd, bytes, at) : os.writeAt(fd, bytes, at);
    } catch (error) {
      // Without memory decoding the kernel makes no access: so it is with one that was pulled.
      if (!isOsError(error)) throw error;
      this.#onOnes();
      this.#checkOpen();
      throw error;
    }
    if (count !== width) {
      const detail = `${count} of ${width} bytes at ${hex(offsetBytes)} of region ${index}`;
      throw new LessorError('SYSTEM_FAILED', detail);
    }
    return fields[width].read(bytes, 0, 'register');
  }

  #read64(region: VfioRegion, offsetBytes: number): bigint {
    const { part, index } = this.#partOf(region, offsetBytes);
    return Atomics.load(part.words, index);
  }

  #partOf(region: VfioRegion, offsetBytes: number): { part: Part; index: number } {
    const area = region.mappable.find(
      (one) =>
        one.offsetBytes <= offsetBytes && offsetBytes + 8 <= one.offsetBytes + one.lengthBytes,
    );
    if (area === undefined) {
      const what = `${hex(offsetBytes)} of region ${region.index}`;
      throw new LessorError('UNSUPPORTED', `8 bytes at once at ${what}: it cannot be mapped`, {
        hint: 'use two accesses of 4 bytes where the device allows it',
      });
    }
    const inArea = offsetBytes - area.offsetBytes;
    const start = area.offsetBytes + roundDown(inArea, limits.windowBytesMax);
    const areaEnd = area.offsetBytes + area.lengthBytes;
    const lengthBytes = Math.min(limits.windowBytesMax, areaEnd - start);
    const fileOffsetBytes = region.fileOffsetBytes + start;
    let part = this.#parts.get(fileOffsetBytes);
    // Its pages were taken while this process touched them; the device may be back.
    if (part?.mapping.revoked === true) {
      this.#parts.delete(fileOffsetBytes);
      part.mapping[Symbol.dispose]();
      part = undefined;
    }
    part ??= this.#map(fileOffsetBytes, lengthBytes);
    return { part, index: (offsetBytes - start) / 8 };
  }

  #map(fileOffsetBytes: number, lengthBytes: number): Part {
    const mapping = this.#memory.map(this.#device.fd, {
      offsetBytes: fileOffsetBytes,
      lengthBytes,
      writable: true,
      guard: 'ones',
    });
    const part = { mapping, words: new BigUint64Array(mapping.buffer, 0, lengthBytes >>> 3) };
    this.#parts.set(fileOffsetBytes, part);
    return part;
  }
}

function isOnes(value: Value, width: Width): boolean {
  if (typeof value === 'bigint') return value === 0xffff_ffff_ffff_ffffn;
  return value === 2 ** (8 * width) - 1;
}
