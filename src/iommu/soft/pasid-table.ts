// Which address space each PASID of one function translates through. Written by the main thread,
// read by the device worker at every translation, so a change needs no message.
import { assert, LessorError } from '../../base/errors.js';

/** Slot of the plain requester id. PASID 0 is refused, so that its slot is free for it. */
export const plainSlot = 0;

export const pasidBitsMax = 20;

export class PasidTable {
  readonly shared: SharedArrayBuffer;
  readonly pasidBits: number;
  readonly #roots: Uint32Array;

  /**
   * @param pasidBits - Width of the PASIDs the function can send, 0 (none) to 20, as in PCIe.
   * @throws LessorError `INVALID_ARGUMENT`
   */
  constructor(pasidBits: number) {
    if (!Number.isInteger(pasidBits) || pasidBits < 0 || pasidBits > pasidBitsMax) {
      throw new LessorError('INVALID_ARGUMENT', `PASIDs of ${pasidBits} bits`);
    }
    this.pasidBits = pasidBits;
    this.shared = new SharedArrayBuffer(4 * 2 ** pasidBits);
    this.#roots = new Uint32Array(this.shared);
  }

  /** Sets `PageTable.root` of a slot; 0 blocks it. The caller invalidates. */
  set(slot: number, root: number): void {
    assert(slot >= 0 && slot < this.#roots.length, `pasid ${slot}`);
    Atomics.store(this.#roots, slot, root);
  }

  get(slot: number): number {
    return this.#roots[slot] ?? 0;
  }
}
