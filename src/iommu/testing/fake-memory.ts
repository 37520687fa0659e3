// Memory objects and an arena without the operating system: they remember what was placed where.

import type { Errno } from '../../base/errno.js';
import { assert, OsError } from '../../base/errors.js';
import { Fd } from '../../os/fd.js';
import {
  type Arena,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_WRITE,
  type GuardSlot,
  type MapSpec,
  type MemoryIdentity,
} from '../../os/memory-types.js';

interface FakeObject {
  readonly inode: bigint;
  readonly isShmem: boolean;
  lengthBytes: number;
  seals: number;
}

interface OpenFile {
  readonly object: FakeObject;
  readonly access: MemoryIdentity['access'];
}

export interface FakeObjectOptions {
  readonly seals?: number;
  readonly access?: MemoryIdentity['access'];
  readonly isShmem?: boolean;
}

/** Descriptors of fake memory objects. */
export class FakeMemory {
  readonly pageBytes = 4096;
  readonly #files = new Map<number, OpenFile>();
  #nextInode = 1n;
  #nextNumber = 1000;

  create(lengthBytes: number, options: FakeObjectOptions = {}): Fd {
    const object: FakeObject = {
      inode: this.#nextInode++,
      isShmem: options.isShmem ?? true,
      lengthBytes,
      seals: options.seals ?? 0,
    };
    return this.#open({ object, access: options.access ?? 'read-write' });
  }

  /** Another descriptor of the same object. */
  reopen(fd: Fd, access: MemoryIdentity['access']): Fd {
    return this.#open({ object: this.file(fd).object, access });
  }

  resize(fd: Fd, lengthBytes: number): void {
    this.file(fd).object.lengthBytes = lengthBytes;
  }

  seals(fd: Fd): number {
    const { object } = this.file(fd);
    if (!object.isShmem) throw new OsError('EINVAL', 'fcntl', 'F_GET_SEALS');
    return object.seals;
  }

  identity(fd: Fd): MemoryIdentity {
    const { object, access } = this.file(fd);
    return { device: 1n, inode: object.inode, lengthBytes: object.lengthBytes, access };
  }

  file(fd: Fd): OpenFile {
    const file = this.#files.get(fd.number);
    assert(file !== undefined, 'a descriptor of this memory');
    return file;
  }

  /** Descriptors that nobody closed. */
  get openCount(): number {
    return this.#files.size;
  }

  #open(file: OpenFile): Fd {
    const number = this.#nextNumber++;
    this.#files.set(number, file);
    return new Fd(
      {
        close: (gone) => (this.#files.delete(gone) ? 0 : -9),
        duplicate: () => this.#open(file).release(),
      },
      number,
    );
  }
}

/** One page of the arena. */
export interface PlacedPage {
  readonly inode: bigint;
  /** Byte offset in the object. */
  readonly offsetBytes: number;
  readonly writable: boolean;
}

interface Range {
  readonly lengthBytes: number;
  readonly slot: GuardSlot;
  readonly spec: MapSpec;
  readonly object: FakeObject;
}

/** An arena that checks its caller: no overlap, alignment, exact clears. */
export class FakeArena implements Arena {
  readonly id = 1;
  readonly lengthBytes: number;
  readonly faults: Int32Array;
  /** Makes the next `place` or `clear` fail. */
  failNext: { readonly call: 'place' | 'clear'; readonly errno: Errno } | undefined;
  readonly #memory: FakeMemory;
  /** What is placed shares nothing with its object but its place. */
  #buffer: ArrayBuffer | undefined;
  readonly #ranges = new Map<number, Range>();
  readonly #freeSlots: GuardSlot[] = [];

  constructor(memory: FakeMemory, lengthBytes: number, slots = 8192) {
    this.#memory = memory;
    this.lengthBytes = lengthBytes;
    this.faults = new Int32Array(slots);
    for (let slot = slots - 1; slot > 0; slot--) this.#freeSlots.push(slot);
  }

  place(offsetBytes: number, fd: Fd, spec: MapSpec): GuardSlot {
    this.#maybeFail('place');
    const { object, access } = this.#memory.file(fd);
    assert(offsetBytes % 4096 === 0 && spec.offsetBytes % 4096 === 0, 'page-aligned');
    assert(offsetBytes + spec.lengthBytes <= this.lengthBytes, 'inside the arena');
    for (const [start, range] of this.#ranges) {
      const isApart =
        start >= offsetBytes + spec.lengthBytes || start + range.lengthBytes <= offsetBytes;
      assert(isApart, 'placed over a range in use');
    }
    if (access === 'write' || (spec.writable && access === 'read')) {
      throw new OsError('EACCES', 'mmap');
    }
    if (spec.writable && (object.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) {
      throw new OsError('EPERM', 'mmap');
    }
    const slot = this.#freeSlots.pop();
    if (slot === undefined) throw new OsError('ENOSPC', 'mmap');
    this.#ranges.set(offsetBytes, { lengthBytes: spec.lengthBytes, slot, spec, object });
    return slot;
  }

  zero(): void {}

  clear(offsetBytes: number, lengthBytes: number, slot: GuardSlot | undefined): void {
    this.#maybeFail('clear');
    const range = this.#ranges.get(offsetBytes);
    assert(range?.lengthBytes === lengthBytes && range.slot === slot, 'clear of what was placed');
    this.#ranges.delete(offsetBytes);
    this.#freeSlots.push(slot);
  }

  get buffer(): ArrayBuffer {
    this.#buffer ??= new ArrayBuffer(this.lengthBytes);
    return this.#buffer;
  }

  /** What an address in the arena leads to. */
  pageAt(offsetBytes: number): PlacedPage | undefined {
    for (const [start, range] of this.#ranges) {
      if (offsetBytes < start || offsetBytes >= start + range.lengthBytes) continue;
      return {
        inode: range.object.inode,
        offsetBytes: range.spec.offsetBytes + offsetBytes - start,
        writable: range.spec.writable,
      };
    }
    return undefined;
  }

  /** As the SIGBUS handler does when an owner truncated an object. */
  faultAt(offsetBytes: number): void {
    for (const [start, range] of this.#ranges) {
      if (offsetBytes < start || offsetBytes >= start + range.lengthBytes) continue;
      this.faults[range.slot]! += 1;
      this.faults[0]! += 1;
    }
  }

  get rangeCount(): number {
    return this.#ranges.size;
  }

  #maybeFail(call: 'place' | 'clear'): void {
    if (this.failNext?.call !== call) return;
    const { errno } = this.failNext;
    this.failNext = undefined;
    throw new OsError(errno, 'mmap');
  }
}
