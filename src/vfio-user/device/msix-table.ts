// The MSI-X table as bytes. Entries begin unmasked, against the PCI specification: VM monitors
// keep a table of their own and never write this one.
import { assert } from '../../base/errors.js';

export const PCI_MSIX_ENTRY_SIZE = 16;
const PCI_MSIX_ENTRY_VECTOR_CTRL = 12;
const PCI_MSIX_ENTRY_CTRL_MASKBIT = 1;

export class MsixTable {
  readonly #bytes: Uint8Array;

  constructor(vectorCount: number) {
    this.#bytes = new Uint8Array(vectorCount * PCI_MSIX_ENTRY_SIZE);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  isMasked(vector: number): boolean {
    const at = vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
    return (this.#bytes[at]! & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
  }

  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#bytes.slice(offsetBytes, offsetBytes + lengthBytes);
  }

  /** Reserved bits of vector control stay 0. */
  write(offsetBytes: number, data: Uint8Array): void {
    assert(offsetBytes + data.length <= this.#bytes.length, 'inside the MSI-X table');
    data.forEach((value, index) => {
      const at = offsetBytes + index;
      const within = at % PCI_MSIX_ENTRY_SIZE;
      const mask =
        within < PCI_MSIX_ENTRY_VECTOR_CTRL ? 0xff : within === PCI_MSIX_ENTRY_VECTOR_CTRL ? 1 : 0;
      this.#bytes[at] = value & mask;
    });
  }

  reset(): void {
    this.#bytes.fill(0);
  }
}
