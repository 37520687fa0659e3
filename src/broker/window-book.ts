// Which window of which lease a descriptor is, and who may have a device reach it. Memory is told
// by its object, which the broker holds open, and by nothing else: names can be given to anything,
// and a number is used again only after it was struck out here. What is no memory, a dma-buf, is
// told by its open file: nobody can open one again, and asking anything else of a descriptor before
// it is known can hang.
import type { ErrorCode } from '../base/error-table.js';
import { LessorError } from '../base/errors.js';
import type { Window } from '../function/types.js';
import { checkMode, type WindowTarget } from '../iommu/memory-check.js';
import type { Access } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import type { MemoryIdentity } from '../os/memory-types.js';
import { windowMapDenial } from '../policy/decide.js';

/** A window with a descriptor, and the lease that has it. */
export interface BookedWindow {
  readonly window: Window;
  readonly access: 'read-write' | 'read';
  readonly leaseId: string;
  readonly uid: number;
  /** Why its lease cannot share it now; undefined when it can. */
  readonly refusal: () => ErrorCode | undefined;
}

export class WindowBook {
  readonly #windows = new Map<string, BookedWindow>();
  /** By their descriptors, those that are no memory. */
  readonly #files = new Map<Fd, BookedWindow>();

  /** Strike it out, by disposing, when its descriptor is closed. */
  add(identity: MemoryIdentity, booked: BookedWindow): Disposable {
    const key = keyOf(identity);
    this.#windows.set(key, booked);
    return { [Symbol.dispose]: () => void this.#windows.delete(key) };
  }

  /** As `add`, for what is no memory. @param fd - Of the window. Not owned. */
  addFile(fd: Fd, booked: BookedWindow): Disposable {
    this.#files.set(fd, booked);
    return { [Symbol.dispose]: () => void this.#files.delete(fd) };
  }

  /**
   * What a lease of `mapperUid` maps to have its device reach the window that an object is;
   * undefined when the object is none of this broker's.
   *
   * @throws LessorError `DENIED`, `MEMORY_READ_ONLY`, `WINDOW_READ_ONLY`, `UNSUPPORTED`,
   *   `LEASE_NOT_ENABLED`, `WINDOW_REVOKED`
   */
  target(identity: MemoryIdentity, access: Access, mapperUid: number): WindowTarget | undefined {
    const booked = this.#windows.get(keyOf(identity));
    if (booked === undefined) return undefined;
    checkHolder(booked, mapperUid);
    checkMode(identity, access);
    return targetOf(booked, access);
  }

  /**
   * As `target`, for what is no memory.
   *
   * @param isSame - Whether the descriptor that was sent is one open file with a window's.
   */
  fileTarget(
    isSame: (windowFd: Fd) => boolean,
    access: Access,
    mapperUid: number,
  ): WindowTarget | undefined {
    for (const [fd, booked] of this.#files) {
      // One that is being given back is closed before it is struck out.
      if (!fd.isOpen || !isSame(fd)) continue;
      checkHolder(booked, mapperUid);
      return targetOf(booked, access);
    }
    return undefined;
  }
}

function checkHolder({ uid }: BookedWindow, mapperUid: number): void {
  const denial = windowMapDenial(mapperUid, uid);
  if (denial !== undefined) throw new LessorError(denial.code, denial.detail);
}

function targetOf(booked: BookedWindow, access: Access): WindowTarget {
  const { window, leaseId } = booked;
  if (access !== 'read' && booked.access === 'read') {
    throw new LessorError('WINDOW_READ_ONLY', 'a window that devices may only read');
  }
  if (!window.isDmaTarget) {
    const detail = 'devices of this function cannot be given its windows';
    throw new LessorError('UNSUPPORTED', detail);
  }
  const refusal = booked.refusal();
  if (refusal !== undefined && refusal !== 'LEASE_NOT_ENABLED') {
    throw new LessorError('WINDOW_REVOKED', `lease ${leaseId} gives the window up`);
  }
  const memory = window.dmaMemory;
  if (memory === undefined) {
    throw new LessorError('LEASE_NOT_ENABLED', `lease ${leaseId} has not connected the window`);
  }
  return { ...memory, lengthBytes: window.lengthBytes };
}

function keyOf({ device, inode }: MemoryIdentity): string {
  return `${device}:${inode}`;
}
