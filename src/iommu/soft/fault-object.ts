// The object behind a fault queue: groups of page requests on their way to the program and back.
// @see linux drivers/iommu/iommufd/eventq.c
import type { AttachHandle } from './group.js';

/** What becomes of a group: the device tries again, or gives up. */
export type PageResponseCode = 'success' | 'invalid';

/** One page that a device wants. */
export interface PageRequest {
  /** undefined: the plain requester id. */
  readonly pasid: number | undefined;
  readonly grpid: number;
  /** IOMMU_PGFAULT_PERM_ bits. */
  readonly perm: number;
  readonly addr: bigint;
  /** Ends its group. */
  readonly isLast: boolean;
}

export interface PageResponse {
  /** Of the last request of the group. */
  readonly pasid: number | undefined;
  readonly grpid: number;
  readonly code: PageResponseCode;
}

/** Requests that are answered together. */
export interface RequestGroup {
  readonly handle: AttachHandle;
  /** The last one has `isLast`. */
  readonly requests: readonly PageRequest[];
  readonly answer: (code: PageResponseCode) => void;
}

export class FaultObject {
  readonly kind = 'fault';
  id = 0;
  /** HWPTs, and the queue while it is open. */
  useCount = 1;
  /** Not read yet, oldest first. */
  pending: RequestGroup[] = [];
  /** Read and not answered, by cookie. */
  readonly delivered = new Map<number, RequestGroup>();

  addUser(): void {
    this.useCount += 1;
  }

  removeUser(): void {
    this.useCount -= 1;
  }

  /** A whole group has come. */
  deliver(group: RequestGroup): void {
    this.pending.push(group);
  }

  /** Answers INVALID for what came through an attach that ended. */
  endHandle(handle: AttachHandle): void {
    this.#refuse((group) => group.handle === handle);
  }

  /** Answers INVALID for all. */
  destroy(): void {
    this.#refuse(() => true);
  }

  #refuse(isEnded: (group: RequestGroup) => boolean): void {
    const ended = this.pending.filter(isEnded);
    this.pending = this.pending.filter((group) => !isEnded(group));
    for (const [cookie, group] of this.delivered) {
      if (!isEnded(group)) continue;
      this.delivered.delete(cookie);
      ended.push(group);
    }
    for (const group of ended) group.answer('invalid');
  }
}
