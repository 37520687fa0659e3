// The memory behind a device's frames: one sealed memfd for each region that has any. The client
// maps it, messages reach it, and the device sees it as live words.
import { assert } from '../../base/errors.js';
import type { Frame, FrameSpec, Value, Width } from '../../device/types.js';
import type { Fd } from '../../os/fd.js';
import {
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Mapping,
  type MemoryOs,
} from '../../os/memory-types.js';
import type { PlannedRegion } from './region-plan.js';

/** Nobody can take the memory away under the device, nor keep it from being written. */
const seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

interface LiveFrame extends Frame {
  u32: Uint32Array;
  base: number;
}

/** One memfd, mapped whole; only its frames are ever touched. */
class Backing implements Disposable {
  readonly fd: Fd;
  readonly clientFd: Fd;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  readonly #mapping: Mapping;

  constructor(memory: MemoryOs, name: string, lengthBytes: number, isReadOnly: boolean) {
    this.fd = memory.create(name, lengthBytes);
    let clientFd: Fd | undefined;
    try {
      this.#mapping = memory.map(this.fd, { offsetBytes: 0, lengthBytes, writable: true });
      memory.addSeals(this.fd, seals);
      if (isReadOnly) {
        memory.setMode(this.fd, 0o400);
        clientFd = memory.reopenReadOnly(this.fd);
      }
    } catch (error) {
      this.fd.close();
      throw error;
    }
    this.clientFd = clientFd ?? this.fd;
    const { buffer } = this.#mapping;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
    this.clientFd.close();
    this.fd.close();
  }
}

class RegionFrames {
  readonly region: PlannedRegion;
  readonly #memory: MemoryOs;
  readonly #name: string;
  readonly #live: LiveFrame[] = [];
  #backing: Backing;
  /** A descriptor of the memory was given out since it was made. */
  #isShared = false;

  constructor(memory: MemoryOs, name: string, region: PlannedRegion) {
    this.region = region;
    this.#memory = memory;
    this.#name = `lessor-frames-${name}-${region.index}`;
    this.#backing = this.#create();
  }

  get backing(): Backing {
    return this.#backing;
  }

  frame(offsetBytes: number): Frame {
    const live: LiveFrame = { u32: this.#backing.u32, base: offsetBytes / 4 };
    this.#live.push(live);
    return live;
  }

  share(): Fd {
    this.#isShared = true;
    return this.#backing.clientFd.duplicate();
  }

  /** The same bytes in memory that no former client knows. */
  renew(): void {
    if (!this.#isShared) return;
    const old = this.#backing;
    const fresh = this.#create();
    for (const { offsetBytes, lengthBytes } of this.region.frames) {
      fresh.u8.set(old.u8.subarray(offsetBytes, offsetBytes + lengthBytes), offsetBytes);
    }
    this.#backing = fresh;
    this.#isShared = false;
    for (const live of this.#live) live.u32 = fresh.u32;
    old[Symbol.dispose]();
  }

  #create(): Backing {
    const { shownBytes, isReadOnly } = this.region;
    return new Backing(this.#memory, this.#name, shownBytes, isReadOnly);
  }

  [Symbol.dispose](): void {
    const none = new Uint32Array(0);
    for (const live of this.#live) live.u32 = none;
    this.#backing[Symbol.dispose]();
  }
}

export class FrameMemory implements Disposable {
  readonly #regions = new Map<number, RegionFrames>();

  /** @param name - Shows in the names of the memory. */
  constructor(memory: MemoryOs, name: string, regions: readonly PlannedRegion[]) {
    try {
      for (const region of regions) {
        if (region.frames.length === 0) continue;
        this.#regions.set(region.index, new RegionFrames(memory, name, region));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The frame behind a byte of a region; the same object lives on when its memory is renewed. */
  frame(region: number, offsetBytes: number): Frame {
    const frames = this.#regions.get(region);
    assert(frames && this.specAt(region, offsetBytes), `region ${region}: no frame there`);
    return frames.frame(offsetBytes);
  }

  /** Frames are many, for a device of many queues: halves the list until one is left. */
  specAt(region: number, offsetBytes: number): FrameSpec | undefined {
    const frames = this.#regions.get(region)?.region.frames ?? [];
    let low = 0;
    let high = frames.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (frames[middle]!.offsetBytes <= offsetBytes) low = middle + 1;
      else high = middle;
    }
    const frame = frames[low - 1];
    if (frame === undefined) return undefined;
    return offsetBytes < frame.offsetBytes + frame.lengthBytes ? frame : undefined;
  }

  /** A duplicate of what a client maps; the caller closes it. */
  share(region: number): Fd | undefined {
    return this.#regions.get(region)?.share();
  }

  /** One load. @param offsetBytes - In a frame, aligned to `width`. */
  read(region: number, offsetBytes: number, width: Width): Value {
    const { u8, u16, u32, u64 } = this.#backing(region);
    if (width === 4) return u32[offsetBytes / 4]!;
    if (width === 8) return u64[offsetBytes / 8]!;
    return width === 2 ? u16[offsetBytes / 2]! : u8[offsetBytes]!;
  }

  /** One store. @param offsetBytes - In a frame, aligned to `width`. */
  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    const { u8, u16, u32, u64 } = this.#backing(region);
    if (width === 4) Atomics.store(u32, offsetBytes / 4, Number(value));
    else if (width === 8) Atomics.store(u64, offsetBytes / 8, BigInt(value));
    else if (width === 2) Atomics.store(u16, offsetBytes / 2, Number(value));
    else Atomics.store(u8, offsetBytes, Number(value));
  }

  /** The bytes of a frame, live. */
  bytes(region: number, frame: FrameSpec): Uint8Array {
    const end = frame.offsetBytes + frame.lengthBytes;
    return this.#backing(region).u8.subarray(frame.offsetBytes, end);
  }

  /** Parts with the client that is gone: what it has mapped reaches nobody from now on. */
  renew(): void {
    for (const region of this.#regions.values()) region.renew();
  }

  [Symbol.dispose](): void {
    for (const region of this.#regions.values()) region[Symbol.dispose]();
    this.#regions.clear();
  }

  #backing(region: number): Backing {
    const frames = this.#regions.get(region);
    assert(frames, `region ${region} has no frames`);
    return frames.backing;
  }
}
