// A device as its IOMMU sees it. Whoever emulates hardware makes one; a program binds it.
import type { IommuHandles } from './control.js';
import type { PageRequest, PageResponse, PageResponseCode } from './fault-object.js';
import { type Slot, SoftGroup } from './group.js';
import { PasidTable, plainSlot } from './pasid-table.js';
import type { SoftDevice } from './soft-device.js';
import type { UnitTraits } from './traits.js';

/** A device has no more page requests under way than PRI lets it have; this is above that. */
const unfinishedMax = 4096;

export interface SoftUnitOptions {
  readonly traits: UnitTraits;
  /** Default: alone in one. */
  readonly group?: SoftGroup;
  /** The answer to each group of its page requests. */
  readonly onPageResponse?: (response: PageResponse) => void;
}

export class SoftUnit {
  readonly traits: UnitTraits;
  readonly group: SoftGroup;
  /** Which table each PASID translates by. */
  readonly pasids: PasidTable;
  /** Who has it bound. */
  device: SoftDevice | undefined;
  readonly #onPageResponse: ((response: PageResponse) => void) | undefined;
  /** Page requests whose group has not ended. */
  #unfinished: PageRequest[] = [];

  constructor({ traits, group = new SoftGroup(), onPageResponse }: SoftUnitOptions) {
    this.traits = traits;
    this.group = group;
    this.#onPageResponse = onPageResponse;
    this.pasids = new PasidTable(traits.pasidBits);
    group.units.add(this);
  }

  /** Its part of what a `DeviceIommu` takes. */
  get handles(): Pick<IommuHandles, 'pasids' | 'smallestPage'> {
    return { pasids: this.pasids.shared, smallestPage: this.traits.format.leafBytes };
  }

  /**
   * Asks for a page. One that nobody takes is answered as invalid at once; the others of a group
   * wait for its last one.
   */
  requestPage(request: PageRequest): void {
    const { pasid, grpid } = request;
    const slot = this.#handlerOf(pasid);
    const fault = slot?.hwpt.fault;
    const answer = (code: PageResponseCode): void => {
      this.#onPageResponse?.({ pasid, grpid, code });
    };
    const isFull = this.#unfinished.length >= unfinishedMax && !request.isLast;
    if (slot === undefined || fault === undefined || isFull) {
      answer('invalid');
      return;
    }
    if (!request.isLast) {
      this.#unfinished.push(request);
      return;
    }
    const requests = this.#unfinished.filter((each) => each.grpid === grpid);
    this.#unfinished = this.#unfinished.filter((each) => each.grpid !== grpid);
    fault.deliver({ handle: slot.handle, requests: [...requests, request], answer });
  }

  /** Drops the page requests whose group has not ended. */
  forgetRequests(): void {
    this.#unfinished = [];
  }

  #handlerOf(pasid: number | undefined): Slot | undefined {
    const { slots } = this.group;
    const slot = slots.get(pasid ?? plainSlot);
    if (slot !== undefined || pasid === undefined || !this.traits.hasUserPasidTable) return slot;
    const plain = slots.get(plainSlot);
    return plain?.hwpt.kind === 'nested' ? plain : undefined;
  }
}
