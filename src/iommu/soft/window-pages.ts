// Windows of a function as memory to map. They are in place in the arena already, and whoever
// exported one can take it from every address space at once: that is for good.
import { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import type { WindowMapRequest } from '../requests.js';
import type { RevocableWindow } from '../types.js';
import { createArea } from './area.js';
import { findIoas, type SoftContext } from './context.js';
import type { Extent } from './extents.js';
import { addArea, checkRequest, checkSource, place, protectionMask } from './map-common.js';
import { fail } from './objects.js';
import { Pages } from './pages.js';

const call = 'IOMMU_IOAS_MAP_FILE';

/** Where a window is. */
export interface WindowPlace {
  readonly arenaOffsetBytes: number;
  readonly lengthBytes: number;
  readonly isWritable: boolean;
}

export class WindowPages extends Pages implements RevocableWindow {
  readonly lengthBytes: number;
  readonly released: Promise<void>;
  override readonly placed: readonly Extent[];
  readonly #context: SoftContext;
  #resolveReleased: () => void = () => {};
  #isRevoked = false;
  #revoked: Promise<void> | undefined;
  /** Something of it has been mapped, and may still be in use by a device. */
  #wasMapped = false;

  constructor(context: SoftContext, { arenaOffsetBytes, lengthBytes, isWritable }: WindowPlace) {
    super('window', isWritable, undefined);
    this.#context = context;
    this.lengthBytes = lengthBytes;
    this.placed = [{ offsetBytes: arenaOffsetBytes, startBytes: 0, lengthBytes }];
    this.released = new Promise((resolve) => {
      this.#resolveReleased = resolve;
    });
  }

  override get isRevoked(): boolean {
    return this.#isRevoked;
  }

  /** True for a window of that context which `window` is. */
  static isOf(context: SoftContext, window: RevocableWindow): window is WindowPages {
    return window instanceof WindowPages && window.#context === context;
  }

  revoke(): Promise<void> {
    this.#revoked ??= this.#revoke();
    return this.#revoked;
  }

  /** @throws OsError as `Iommufd.ioasMapWindow` */
  map(request: WindowMapRequest): void {
    const flags = request.flags | IOMMU_IOAS_MAP_FIXED_IOVA;
    const iova = BigInt(request.iova);
    const length = BigInt(request.length);
    const start = BigInt(request.start);
    checkRequest(flags, [iova, length], call);
    const ioas = findIoas(this.#context, request.ioasId, call);
    if (length === 0n) throw fail('EINVAL', call, 'length 0');
    if (start + length > BigInt(this.lengthBytes)) throw fail('EINVAL', call, 'past the window');
    if ((flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0 && !this.isWritable) {
      throw fail('EPERM', call, 'a window that devices may only read');
    }
    if (this.isRevoked) throw fail('ENODEV', call, 'the window was revoked');
    place(ioas, { flags, iova, length, source: start }, call);
    checkSource(ioas, start, length, call);
    const protection = flags & protectionMask;
    const area = createArea(ioas, iova, length, start, protection, request.account, this);
    this.join(area);
    addArea(this.#context, area, call);
  }

  override join(area: Parameters<Pages['join']>[0]): void {
    super.join(area);
    this.#wasMapped = true;
  }

  async #revoke(): Promise<void> {
    const { pool, invalidation } = this.#context;
    this.#isRevoked = true;
    if (!this.#wasMapped) {
      this.#resolveReleased();
      return;
    }
    for (const area of this.areas) {
      for (const hwpt of area.ioas.domains) hwpt.revokeArea(area);
    }
    const nodes = pool.takeRetired();
    // Also for what was unmapped a moment ago, and is not acknowledged yet.
    await invalidation.invalidate(() => {
      if (nodes !== undefined) pool.release(nodes);
      this.#resolveReleased();
    });
  }
}
