// Region accesses of the client: configuration space, MSI-X table, frames, and the device's own
// registers, each as the accesses that they are.
import { LessorError, OsError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import type { ConfigSpace } from '../../device/config-space.js';
import type { PciDevice, Value, Width } from '../../device/types.js';
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../../uapi/vfio.js';
import type { FrameMemory } from './frame-memory.js';
import type { Interrupts } from './interrupts.js';
import {
  onesOf,
  pieceWidth,
  putValue,
  valueFromBytes,
  valueToBytes,
  widthOf,
} from './region-bytes.js';
import type { DevicePlan, MsixPlace, PlannedRegion } from './region-plan.js';

/** Of a long access, before others have their turn. */
const bytesPerTurn = 4096;

function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface RegisterAccessParts {
  readonly device: PciDevice;
  readonly plan: DevicePlan;
  readonly config: ConfigSpace;
  readonly frames: FrameMemory;
  readonly interrupts: Interrupts;
  /** The configuration space was written. */
  readonly configWritten: () => void;
  /** Grows when the client is gone: what is left of its accesses is dropped. */
  readonly life: () => number;
  /** The device may have work now. */
  readonly wake: () => void;
}

/** Which part of MSI-X an access is to, and where in it. */
function msixHit(
  msix: MsixPlace | undefined,
  region: number,
  offsetBytes: number,
): { readonly part: 'table' | 'pba'; readonly at: number } | undefined {
  if (msix?.region !== region) return undefined;
  const inTable = offsetBytes - msix.tableOffset;
  if (inTable >= 0 && inTable < msix.tableBytes) return { part: 'table', at: inTable };
  const inPba = offsetBytes - msix.pbaOffset;
  return inPba >= 0 && inPba < msix.pbaBytes ? { part: 'pba', at: inPba } : undefined;
}

export class RegisterAccess {
  readonly #parts: RegisterAccessParts;
  readonly #regions: readonly (PlannedRegion | undefined)[];

  constructor(parts: RegisterAccessParts) {
    this.#parts = parts;
    const { regions, shown } = parts.plan;
    this.#regions = shown.map((_, index) => regions.find((region) => region.index === index));
  }

  /** @throws LessorError `INVALID_ARGUMENT` for what is no single access in a BAR. */
  read(index: number, offsetBytes: number, lengthBytes: number): Uint8Array | Promise<Uint8Array> {
    const { config } = this.#parts;
    if (index === VFIO_PCI_CONFIG_REGION_INDEX) return config.read(offsetBytes, lengthBytes);
    const region = this.#regionAt(index);
    const width = widthOf(offsetBytes, lengthBytes);
    if (width !== undefined) return this.#readBytes(region, offsetBytes, width);
    if (region.isBar) throw notSingle(index, offsetBytes, lengthBytes);
    return this.#readPieces(region, offsetBytes, lengthBytes);
  }

  /** @throws As `read`; LessorError `WINDOW_READ_ONLY` for a frame that only the device writes. */
  write(index: number, offsetBytes: number, bytes: Uint8Array): void | Promise<void> {
    const { config, configWritten } = this.#parts;
    if (index === VFIO_PCI_CONFIG_REGION_INDEX) {
      config.write(offsetBytes, bytes);
      configWritten();
      return undefined;
    }
    const region = this.#regionAt(index);
    const width = widthOf(offsetBytes, bytes.length);
    if (width !== undefined) return this.#write(region, offsetBytes, width, bytes, 0);
    if (region.isBar) throw notSingle(index, offsetBytes, bytes.length);
    return this.#writePieces(region, offsetBytes, bytes);
  }

  #regionAt(index: number): PlannedRegion {
    const region = this.#regions[index];
    if (region !== undefined) return region;
    throw new LessorError('INVALID_ARGUMENT', `the device has no region ${index}`);
  }

  #readBytes(
    region: PlannedRegion,
    offsetBytes: number,
    width: Width,
  ): Uint8Array | Promise<Uint8Array> {
    const value = this.#read(region, offsetBytes, width);
    if (value instanceof Promise) return value.then((settled) => valueToBytes(settled, width));
    return valueToBytes(value, width);
  }

  #read(region: PlannedRegion, offsetBytes: number, width: Width): Value | Promise<Value> {
    const { device, plan, frames, interrupts, wake } = this.#parts;
    const { index } = region;
    const hit = msixHit(plan.msix, index, offsetBytes);
    if (hit !== undefined) {
      const { table } = interrupts;
      const bytes =
        hit.part === 'table' ? table.read(hit.at, width) : interrupts.pendingBits(hit.at, width);
      return valueFromBytes(bytes, 0, width);
    }
    if (offsetBytes + width > region.lengthBytes) return onesOf(width);
    if (frames.specAt(index, offsetBytes) !== undefined) {
      return frames.read(index, offsetBytes, width);
    }
    const value = device.read(index, offsetBytes, width);
    wake();
    return value;
  }

  #write(
    region: PlannedRegion,
    offsetBytes: number,
    width: Width,
    bytes: Uint8Array,
    from: number,
  ): void | Promise<void> {
    const { device, plan, frames, interrupts, wake } = this.#parts;
    const { index } = region;
    const hit = msixHit(plan.msix, index, offsetBytes);
    if (hit !== undefined) {
      if (hit.part === 'table') interrupts.writeTable(hit.at, bytes.subarray(from, from + width));
      return undefined;
    }
    if (offsetBytes + width > region.lengthBytes) return undefined;
    const value = valueFromBytes(bytes, from, width);
    const frame = frames.specAt(index, offsetBytes);
    if (frame?.writable === false) {
      throw new LessorError('WINDOW_READ_ONLY', `only the device writes ${hex(offsetBytes)}`);
    }
    if (frame !== undefined) frames.write(index, offsetBytes, width, value);
    const done = frame === undefined ? device.write(index, offsetBytes, width, value) : undefined;
    wake();
    return done;
  }

  async #readPieces(
    region: PlannedRegion,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<Uint8Array> {
    const bytes = new Uint8Array(lengthBytes);
    const life = this.#parts.life();
    for (let at = 0; at < lengthBytes; ) {
      this.#checkLife(life);
      const width = pieceWidth(offsetBytes + at, lengthBytes - at);
      const value = this.#read(region, offsetBytes + at, width);
      putValue(bytes, at, width, value instanceof Promise ? await value : value);
      at += width;
      if (at % bytesPerTurn === 0) await macrotask();
    }
    return bytes;
  }

  async #writePieces(region: PlannedRegion, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const life = this.#parts.life();
    for (let at = 0; at < bytes.length; ) {
      this.#checkLife(life);
      const width = pieceWidth(offsetBytes + at, bytes.length - at);
      const done = this.#write(region, offsetBytes + at, width, bytes, at);
      if (done instanceof Promise) await done;
      at += width;
      if (at % bytesPerTurn === 0) await macrotask();
    }
  }

  #checkLife(life: number): void {
    if (life === this.#parts.life()) return;
    throw new OsError('ECANCELED', 'vfio-user', 'the client is gone');
  }
}

function notSingle(region: number, offsetBytes: number, lengthBytes: number): LessorError {
  const what = `${lengthBytes} bytes at ${hex(offsetBytes)} of region ${region}`;
  return new LessorError('INVALID_ARGUMENT', `${what} are no single register access`);
}
