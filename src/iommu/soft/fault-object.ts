// The object behind a fault queue: groups of page requests on their way to the program and back.
// @see linux drivers/iommu/iommufd/eventq.c
import { assert } from '../../base/errors.js';
import type { AttachHandle } from './group.js';
import { ObjectTable } from './objects.js';

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

/** Groups that nobody has read; as many as the queue of real hardware holds, or more. */
const pendingGroupsMax = 4096;

export class FaultObject {
  readonly kind = 'fault';
  id = 0;
  /** HWPTs, and the queue while it is open. */
  useCount = 1;
  /** Not read yet, oldest first. */
  pending: RequestGroup[] = [];
  /** Read and not answered, by cookie. */
  readonly delivered = new ObjectTable<RequestGroup>();

  addUser(): void {
    this.useCount += 1;
  }

  removeUser(): void {
    this.useCount -= 1;
  }

  /** A whole group has come. What is too much to keep is refused at once. */
  deliver(group: RequestGroup): void {
    if (this.pending.length >= pendingGroupsMax) group.answer('invalid');
    else this.pending.push(group);
  }

  /** Answers INVALID for what came through an attach that ended. */
  endHandle(handle: AttachHandle): void {
    const ended = this.pending.filter((group) => group.handle === handle);
    this.pending = this.pending.filter((group) => group.handle !== handle);
    for (const [cookie, group] of this.delivered.entries()) {
      if (group.handle !== handle) continue;
      this.delivered.remove(cookie);
      ended.push(group);
    }
    for (const group of ended) group.answer('invalid');
  }

  /** Nothing leads to it any more, so every attach has ended. */
  destroy(): void {
    assert(this.pending.length + this.delivered.entries().length === 0, 'open page requests');
  }
}
