// Address spaces over an iommufd: one of its own for each PASID, and one that all leases share
// under the plain requester id.
import { LessorError } from '../base/errors.js';
import { type Iova, toCount } from '../base/units.js';
import { IOMMU_HWPT_ALLOC_PASID } from '../uapi/iommufd.js';
import { type AddressSpacesOptions, causeOf, type Root, Share } from './space-share.js';
import type { AddressSpace } from './types.js';

export type { AddressSpacesOptions } from './space-share.js';

/** The address spaces of one function. */
export interface AddressSpaces extends AsyncDisposable {
  /**
   * Opens an address space of its own under a PASID, or a share of the plain one.
   *
   * @param pasid - 1 to 2^pasidBits - 1, not in use; undefined: the plain requester id.
   * @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED`, `ARENA_FULL`
   */
  open(options: { readonly pasid: number | undefined }): AddressSpace;
}

class Spaces implements AddressSpaces {
  readonly #options: AddressSpacesOptions;
  readonly #roots = new Map<number, Root>();
  readonly #goneSubscription: Disposable;
  #plain: Root | undefined;

  constructor(options: AddressSpacesOptions) {
    this.#options = options;
    this.#goneSubscription = options.iommufd.onMemoryGone(({ ioasId, iova }) => {
      const shares = this.#roots.get(ioasId)?.shares ?? [];
      for (const share of [...shares]) if (share.memoryGone(Number(iova) as Iova)) return;
    });
  }

  open({ pasid }: { readonly pasid: number | undefined }): AddressSpace {
    let root = this.#plain;
    if (pasid !== undefined) root = this.#openPasid(pasid);
    else if (root === undefined) {
      root = this.#openRoot(undefined);
      this.#plain = root;
    }
    const { shares } = root!;
    const share = new Share(this.#options, root!, () => {
      shares.delete(share);
      // The shared one outlives its shares.
      if (pasid !== undefined) this.#closeRoot(root!);
    });
    shares.add(share);
    return share;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const shares = [...this.#roots.values()].flatMap((root) => [...root.shares]);
    await Promise.all(shares.map((share) => share[Symbol.asyncDispose]()));
    if (this.#plain) this.#closeRoot(this.#plain);
    this.#plain = undefined;
    this.#goneSubscription[Symbol.dispose]();
    await this.#options.iommufd.settled();
  }

  #openPasid(pasid: number): Root {
    const { pasidBits } = this.#options.device;
    if (pasidBits === 0) throw new LessorError('UNSUPPORTED', 'the function has no PASIDs');
    if (toCount(pasid, 'pasid', 2 ** pasidBits - 1) === 0) {
      throw new LessorError('INVALID_ARGUMENT', 'pasid 0 is the plain requester id');
    }
    for (const root of this.#roots.values()) {
      // An attach would replace it.
      if (root.pasid === pasid) throw new LessorError('INVALID_ARGUMENT', `pasid ${pasid} in use`);
    }
    return this.#openRoot(pasid);
  }

  #openRoot(pasid: number | undefined): Root {
    const { iommufd, device } = this.#options;
    // Beside PASIDs the plain requester id may use only a table that is fit for PASIDs.
    const flags = device.pasidBits > 0 ? IOMMU_HWPT_ALLOC_PASID : 0;
    const ioasId = iommufd.ioasAlloc();
    let hwptId: number | undefined;
    try {
      hwptId = iommufd.hwptAlloc({ flags, devId: device.id, ptId: ioasId });
      device.attach(hwptId, pasid);
    } catch (error) {
      if (hwptId !== undefined) iommufd.destroy(hwptId);
      iommufd.destroy(ioasId);
      throw causeOf(error);
    }
    const root = { pasid, ioasId, hwptId, shares: new Set<Share>() };
    this.#roots.set(ioasId, root);
    return root;
  }

  #closeRoot(root: Root): void {
    const { iommufd, device } = this.#options;
    this.#roots.delete(root.ioasId);
    device.detach(root.pasid);
    iommufd.destroy(root.hwptId);
    iommufd.destroy(root.ioasId);
  }
}

/** Address spaces of a bound function. Dispose before the device is closed. */
export function openAddressSpaces(options: AddressSpacesOptions): AddressSpaces {
  return new Spaces(options);
}
