// Placed extents by memory object: two descriptors of one object lead to the same.
import type { MemoryIdentity } from '../../os/memory-types.js';

/** Extents of one object, by extent number and protection. */
export interface ObjectExtents<T> {
  readonly device: bigint;
  readonly inode: bigint;
  readonly byKey: Map<number, T>;
}

export class ObjectIndex<T> {
  readonly #devices = new Map<bigint, Map<bigint, ObjectExtents<T>>>();

  /** The extents of an object, empty when it is new. */
  open({ device, inode }: MemoryIdentity): ObjectExtents<T> {
    let inodes = this.#devices.get(device);
    if (inodes === undefined) {
      inodes = new Map();
      this.#devices.set(device, inodes);
    }
    let object = inodes.get(inode);
    if (object === undefined) {
      object = { device, inode, byKey: new Map() };
      inodes.set(inode, object);
    }
    return object;
  }

  /** Forgets an object without extents. */
  close(object: ObjectExtents<T>): void {
    const inodes = this.#devices.get(object.device);
    if (object.byKey.size > 0 || inodes?.get(object.inode) !== object) return;
    inodes.delete(object.inode);
    if (inodes.size === 0) this.#devices.delete(object.device);
  }
}
