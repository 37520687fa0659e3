// The memory behind a device's frames: one sealed memfd for each region that has any. The client
// maps it, messages reach it, and the device sees it as live words. Single frames may have other
// memory for a while.
import { assert } from '../../base/errors.js';
import type { Frame, FrameSpec, Value, Width } from '../../device/types.js';
import { Words } from '../../device/words.js';
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
  /** In the region. */
  readonly offsetBytes: number;
}

/** Memory that stands in for a frame, and where in it the frame begins. */
interface JoinedMemory {
  readonly words: Words;
  readonly offsetBytes: number;
}

/** One memfd, mapped whole; only its frames are ever touched. */
class Backing implements Disposable {
  readonly fd: Fd;
  readonly clientFd: Fd;
  readonly words: Words;
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
    this.words = new Words(this.#mapping.buffer);
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
  readonly #joined = new Map<FrameSpec, JoinedMemory>();
  #backing: Backing;
  /** A descriptor of the memory was given out since it was made. */
  #isShared = false;

  constructor(memory: MemoryOs, name: string, region: PlannedRegion) {
    this.region = region;
    this.#memory = memory;
    this.#name = `lessor-frames-${name}-${region.index}`;
    this.#backing = this.#create();
  }

  get words(): Words {
    return this.#backing.words;
  }

  /** Undefined: the frame has the memory of the region. */
  joinedMemory(spec: FrameSpec | undefined): JoinedMemory | undefined {
    return spec === undefined ? undefined : this.#joined.get(spec);
  }

  get hasJoined(): boolean {
    return this.#joined.size > 0;
  }

  frame(offsetBytes: number): Frame {
    const live: LiveFrame = { u32: this.words.u32, base: offsetBytes / 4, offsetBytes };
    this.#live.push(live);
    for (const spec of this.#joined.keys()) this.#locate(spec);
    return live;
  }

  /** Once back, the device finds all zeros in the region's own memory. */
  join(spec: FrameSpec, memory: JoinedMemory): void {
    this.#joined.set(spec, memory);
    this.#locate(spec);
    this.words.clear(spec.offsetBytes, spec.lengthBytes);
  }

  part(spec: FrameSpec): void {
    this.#joined.delete(spec);
    this.#locate(spec);
  }

  /** Shows the device what stands behind a frame now. */
  #locate(spec: FrameSpec): void {
    const memory = this.#joined.get(spec);
    const { words, offsetBytes } = memory ?? { words: this.words, offsetBytes: spec.offsetBytes };
    for (const live of this.#live) {
      const inFrame = live.offsetBytes - spec.offsetBytes;
      if (inFrame < 0 || inFrame >= spec.lengthBytes) continue;
      live.u32 = words.u32;
      live.base = (offsetBytes + inFrame) / 4;
    }
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
      const bytes = old.words.u8.subarray(offsetBytes, offsetBytes + lengthBytes);
      fresh.words.u8.set(bytes, offsetBytes);
    }
    this.#backing = fresh;
    this.#isShared = false;
    for (const live of this.#live) live.u32 = fresh.words.u32;
    for (const spec of this.#joined.keys()) this.#locate(spec);
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
    const frames = this.#framesOf(region);
    if (!frames.hasJoined) return frames.words.load(offsetBytes, width);
    const { words, offsetBytes: at } = this.#placeOf(frames, offsetBytes);
    return words.load(at, width);
  }

  /** One store. @param offsetBytes - In a frame, aligned to `width`. */
  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    const frames = this.#framesOf(region);
    if (!frames.hasJoined) {
      frames.words.store(offsetBytes, width, value);
      return;
    }
    const { words, offsetBytes: at } = this.#placeOf(frames, offsetBytes);
    words.store(at, width, value);
  }

  /** The bytes of a frame, live. */
  bytes(region: number, frame: FrameSpec): Uint8Array {
    const { words, offsetBytes } = this.#placeOf(this.#framesOf(region), frame.offsetBytes);
    return words.u8.subarray(offsetBytes, offsetBytes + frame.lengthBytes);
  }

  /** True while a frame has memory that `join` brought. */
  isJoined(region: number, frame: FrameSpec): boolean {
    return this.#framesOf(region).joinedMemory(frame) !== undefined;
  }

  /**
   * Lets memory stand in for a frame, for device and messages alike, until `part`.
   *
   * @param offsetBytes - Of the frame's first byte in `words`, a multiple of 8.
   */
  join(region: number, frame: FrameSpec, words: Words, offsetBytes: number): void {
    this.#framesOf(region).join(frame, { words, offsetBytes });
  }

  /** The frame has the memory of its region again, and no word of the other is in use. */
  part(region: number, frame: FrameSpec): void {
    this.#framesOf(region).part(frame);
  }

  /** Parts with the client that is gone: what it has mapped reaches nobody from now on. */
  renew(): void {
    for (const region of this.#regions.values()) region.renew();
  }

  [Symbol.dispose](): void {
    for (const region of this.#regions.values()) region[Symbol.dispose]();
    this.#regions.clear();
  }

  #framesOf(region: number): RegionFrames {
    const frames = this.#regions.get(region);
    assert(frames, `region ${region} has no frames`);
    return frames;
  }

  #placeOf(frames: RegionFrames, offsetBytes: number): JoinedMemory {
    const spec = this.specAt(frames.region.index, offsetBytes);
    const memory = frames.joinedMemory(spec);
    if (memory === undefined || spec === undefined) return { words: frames.words, offsetBytes };
    const inFrame = offsetBytes - spec.offsetBytes;
    return { words: memory.words, offsetBytes: memory.offsetBytes + inFrame };
  }
}
