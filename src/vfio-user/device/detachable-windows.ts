// Memory of the client that stands in for frames: it comes by a DMA_MAP that permits no DMA, is
// joined by a command in a region of its own, and is gone when its DMA_UNMAP is answered.
import { isOsError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, iovaEnd, isAligned } from '../../base/units.js';
import type { FrameSpec } from '../../device/types.js';
import { Words } from '../../device/words.js';
import type { Fd } from '../../os/fd.js';
import type { Mapping, MemoryOs } from '../../os/memory-types.js';
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from '../../uapi/vfio.js';
import {
  windowCommand,
  windowCommandRecord,
  windowFrame,
  windowFrameWritable,
  windowRegionHeader,
  windowRegionMagic,
  windowRegionType,
  windowRegionVersion,
} from '../../uapi/window-region.js';
import type { DmaMapRequest, DmaRange, EndpointRegion } from '../endpoint.js';
import type { FrameMemory } from './frame-memory.js';
import type { DevicePlan } from './region-plan.js';

export interface DetachableWindowsParts {
  readonly memory: MemoryOs;
  readonly plan: DevicePlan;
  readonly frames: FrameMemory;
  /** The device may have work now. */
  readonly wake: () => void;
}

interface WindowMemory {
  readonly at: number;
  readonly end: number;
  /** Guarded: its owner, and whoever that passed it to, can truncate it. */
  readonly mapping: Mapping;
  readonly words: Words;
  readonly joined: { readonly region: number; readonly frame: FrameSpec }[];
}

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', detail);
}

/** What the region reads as. */
function describeFrames({ regions }: DevicePlan): Uint8Array {
  const all = regions.flatMap(({ index, frames }) => frames.map((frame) => ({ index, frame })));
  const { sizeBytes: headBytes } = windowRegionHeader;
  const bytes = new Uint8Array(headBytes + all.length * windowFrame.sizeBytes);
  const head = { magic: windowRegionMagic, version: windowRegionVersion, frameCount: all.length };
  windowRegionHeader.encodeAt(head, bytes, 0);
  all.forEach(({ index, frame }, position) => {
    const { offsetBytes: offset, lengthBytes: length, writable } = frame;
    const value = { region: index, flags: writable ? windowFrameWritable : 0, offset, length };
    windowFrame.encodeAt(value, bytes, headBytes + position * windowFrame.sizeBytes);
  });
  return bytes;
}

export class DetachableWindows implements Disposable {
  /** Index of the region of commands: behind those of the device. */
  readonly region: number;
  readonly shown: EndpointRegion;
  readonly #parts: DetachableWindowsParts;
  readonly #description: Uint8Array;
  readonly #memories = new Map<number, WindowMemory>();
  /** No client needs more memory than there are frames to stand in for. */
  readonly #keptBytesMax: number;
  #keptBytes = 0;

  constructor(parts: DetachableWindowsParts) {
    this.#parts = parts;
    const { plan } = parts;
    this.region = plan.shown.length;
    this.#description = describeFrames(plan);
    this.#keptBytesMax = plan.regions
      .flatMap(({ frames }) => frames)
      .reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    this.shown = {
      lengthBytes: this.#description.length,
      flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
      type: windowRegionType,
    };
  }

  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#description.slice(offsetBytes, offsetBytes + lengthBytes);
  }

  /**
   * Obeys a command.
   *
   * @throws LessorError `INVALID_ARGUMENT` for what is no command, or ranges that do not fit;
   *   `WINDOW_SEALS` for memory that was truncated; ProtocolError for a field out of range.
   */
  write(offsetBytes: number, bytes: Uint8Array): void {
    if (offsetBytes !== 0) refuse(`a command at ${hex(offsetBytes)}`);
    const { command, ...range } = windowCommandRecord.decode(bytes);
    if (command === windowCommand.join) this.#join(range);
    else if (command !== windowCommand.wake) refuse(`command ${command}`);
    this.#parts.wake();
  }

  /**
   * Keeps the memory of a map if it may be a window's, and lets `map` do what is done with every
   * map. The descriptor of the request is closed by `map`, or here when it is not called.
   *
   * @throws what `map` throws; LessorError `QUOTA_EXCEEDED` for more bytes than there are frames;
   *   OsError of mmap.
   */
  map(request: DmaMapRequest, map: () => void): void {
    let kept: WindowMemory | undefined;
    try {
      kept = this.#keep(request);
    } catch (error) {
      request.fd?.close();
      throw error;
    }
    try {
      map();
    } catch (error) {
      if (kept !== undefined) this.#drop(kept);
      throw error;
    }
  }

  /** The device sees no memory any more that lies in the range. */
  unmapped(range: DmaRange | 'all'): void {
    if (this.#memories.size === 0) return;
    for (const memory of [...this.#memories.values()]) {
      const isInside =
        range === 'all' ||
        (BigInt(memory.at) >= range.iova && BigInt(memory.end) <= range.iova + range.lengthBytes);
      if (isInside) this.#drop(memory);
    }
    this.#parts.wake();
  }

  [Symbol.dispose](): void {
    for (const memory of [...this.#memories.values()]) this.#drop(memory);
  }

  /** Places memory that permits no DMA, in whole pages; of anything else nothing is kept. */
  #keep(request: DmaMapRequest): WindowMemory | undefined {
    const { memory } = this.#parts;
    const { iova, readable, writable, fd } = request;
    if (fd === undefined || readable || writable) return undefined;
    const sizes = [iova, request.lengthBytes, request.offsetBytes];
    if (sizes.some((bytes) => bytes >= BigInt(iovaEnd))) return undefined;
    const [at, lengthBytes, offsetBytes] = sizes.map(Number) as [number, number, number];
    const isWhole = [at, lengthBytes, offsetBytes].every((n) => isAligned(n, memory.pageBytes));
    if (!isWhole || lengthBytes > limits.windowBytesMax || this.#memories.has(at)) return undefined;
    if (!this.#isPlaceable(fd, offsetBytes + lengthBytes)) return undefined;
    if (this.#keptBytes + lengthBytes > this.#keptBytesMax) {
      throw new LessorError('QUOTA_EXCEEDED', `windows of more than ${this.#keptBytesMax} bytes`);
    }
    const spec = { offsetBytes, lengthBytes, writable: true, guard: 'ones' } as const;
    const mapping = memory.map(fd, spec);
    const end = at + lengthBytes;
    const kept = { at, end, mapping, words: new Words(mapping.buffer), joined: [] };
    this.#memories.set(at, kept);
    this.#keptBytes += lengthBytes;
    return kept;
  }

  #isPlaceable(fd: Fd, endBytes: number): boolean {
    const { memory } = this.#parts;
    try {
      memory.seals(fd);
    } catch (error) {
      if (isOsError(error, 'EINVAL')) return false;
      throw error;
    }
    const { lengthBytes, access } = memory.identity(fd);
    return access === 'read-write' && lengthBytes >= endBytes;
  }

  #join(range: {
    readonly region: number;
    readonly offset: number;
    readonly length: number;
    readonly iova: number;
  }): void {
    const { region, offset, length, iova } = range;
    const { frames } = this.#parts;
    const what = `${hex(length)} bytes at ${hex(offset)} of region ${region}`;
    const touched = this.#framesIn(region, offset, length);
    if (touched === undefined) refuse(`${what} are not whole frames`);
    if (touched.some((frame) => frames.isJoined(region, frame))) refuse(`${what}: joined already`);
    const memory = [...this.#memories.values()].find(
      ({ at, end }) => at <= iova && iova + length <= end,
    );
    if (memory === undefined || !isAligned(iova, this.#parts.memory.pageBytes)) {
      refuse(`no memory for a window at ${hex(iova)}`);
    }
    const start = iova - memory.at;
    // What was stored before counts for nothing: the device starts from all zeros.
    memory.words.clear(start, length);
    if (memory.mapping.revoked) throw new LessorError('WINDOW_SEALS', `${what}: truncated`);
    for (const frame of touched) {
      frames.join(region, frame, memory.words, start + frame.offsetBytes - offset);
      memory.joined.push({ region, frame });
    }
  }

  /** The frames that tile a range exactly. */
  #framesIn(index: number, offset: number, length: number): FrameSpec[] | undefined {
    const region = this.#parts.plan.regions.find((candidate) => candidate.index === index);
    const touched = (region?.frames ?? []).filter(
      (frame) =>
        frame.offsetBytes < offset + length && frame.offsetBytes + frame.lengthBytes > offset,
    );
    const coveredBytes = touched.reduce((sum, frame) => sum + frame.lengthBytes, 0);
    const isTiled = touched[0]?.offsetBytes === offset && coveredBytes === length;
    return isTiled ? touched : undefined;
  }

  #drop(memory: WindowMemory): void {
    const { frames } = this.#parts;
    for (const { region, frame } of memory.joined) frames.part(region, frame);
    this.#memories.delete(memory.at);
    this.#keptBytes -= memory.end - memory.at;
    memory.mapping[Symbol.dispose]();
  }
}
