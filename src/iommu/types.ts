// Words and seams of the IOMMU: what drives it, and what a device sees of it.
import type { Iova } from '../base/units.js';
import type { Fd } from '../os/fd.js';

export type Access = 'read' | 'write' | 'read-write';

/** Why a DMA was refused. Devices show the place in this list: new ones go to its end. */
export const faultReasons = [
  'not attached',
  'not mapped',
  'no permission',
  'out of bounds',
  'not reachable',
  'memory gone',
  'wrong pasid',
  'revoked',
] as const;
export type FaultReason = (typeof faultReasons)[number];

/** A memory object to map from. The address space takes no ownership. */
export interface DmaMemory {
  /** Absent: reachable by message alone; DMA to it faults where messages are not served. */
  readonly fd: Fd | undefined;
  readonly offsetBytes: number;
  /**
   * The memory is a window of the same function, as its IOMMU in software knows it. One in the
   * kernel needs nothing but the descriptor, a dma-buf.
   */
  readonly window?: RevocableWindow;
}

/**
 * A window of a function that its address spaces can map until it is revoked, and never after. What
 * mapped it stays as a dead mapping, which blocks its IOVA until it is unmapped.
 */
export interface RevocableWindow {
  readonly lengthBytes: number;
  /** False: devices may only read it. */
  readonly isWritable: boolean;
  /**
   * Resolves when no device reaches it any more. Its entries are gone when this returns.
   *
   * @throws LessorError `DEADLINE_EXCEEDED`: the device did not acknowledge and must be reset.
   */
  revoke(): Promise<void>;
  /** After `revoke`: resolves when no device reaches it, however long that takes. */
  readonly released: Promise<void>;
}

/** One mapping of an address space. */
export interface DmaMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;
}

/** A share of placed bytes and table pages, charged and limited. One per lease. */
export interface DmaAccount {
  readonly placedBytesMax: number;
  readonly tablePagesMax: number;
  placedBytes: number;
  tablePages: number;
}

/** IOVA to memory translations that one lease may edit. */
export interface AddressSpace extends AsyncDisposable {
  /** What the device must present: a PASID, or undefined for its plain requester id. */
  readonly pasid: number | undefined;
  /**
   * Makes memory reachable by the device. All or nothing.
   *
   * @throws LessorError `IOVA_OVERLAP`, `IOVA_UNALIGNED`, `ARENA_FULL`, `QUOTA_EXCEEDED`,
   *   `MEMORY_NOT_SHMEM`, `MEMORY_TOO_SMALL`
   */
  map(
    memory: DmaMemory,
    iova: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): Promise<DmaMapping>;
  /** Resolves when the device can no longer use any translation of it. */
  unmap(mapping: DmaMapping): Promise<void>;
  /** Called when the memory behind a mapping was truncated by its owner. */
  onMemoryGone(listener: (mapping: DmaMapping) => void): Disposable;
  /** Unmaps everything, acknowledged, and gives up the translation root or PASID. */
  [Symbol.asyncDispose](): Promise<void>;
}
