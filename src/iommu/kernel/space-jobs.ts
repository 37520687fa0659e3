// Long work in an address space, in pieces: a map of gigabytes pins them, and nobody may wait for
// all of it.
import type { Iova } from '../../base/units.js';
import type { AddressSpace, DmaAccount, DmaMapping } from '../types.js';
import type { Job } from './job-queue.js';
import type { SpaceRequest } from './worker-messages.js';

/** Pinning that takes some tens of milliseconds; a multiple of every page but the largest. */
export const chunkBytes = 64 * 1024 * 1024;
/** Small mappings that one piece removes. */
const removalsMax = 256;

/** An address space and what is in it. */
export interface Space {
  readonly id: number;
  readonly share: AddressSpace;
  /** Mappings of the main thread, each in pieces. */
  readonly mappings: Map<number, readonly DmaMapping[]>;
  /** All pieces, also of maps that are under way. */
  readonly pieces: Set<DmaMapping>;
  closing: boolean;
}

export interface SpaceJob extends Job {
  /** Does a piece. @returns True when all is done. @throws What ends the job without success */
  step(): Promise<boolean>;
  /** Tells how it ended. */
  readonly reply: (error: unknown) => void;
}

/** The main thread charges; here nothing is limited. */
function unlimited(): DmaAccount {
  const max = Number.POSITIVE_INFINITY;
  return { placedBytesMax: max, tablePagesMax: max, placedBytes: 0, tablePages: 0 };
}

async function removeSome(space: Space, pieces: DmaMapping[]): Promise<void> {
  let bytes = 0;
  for (let count = 0; count < removalsMax && bytes < chunkBytes; count++) {
    const piece = pieces.pop();
    if (piece === undefined) return;
    // Should this fail, the end of the address space takes it along.
    space.pieces.delete(piece);
    await space.share.unmap(piece);
    bytes += piece.lengthBytes;
  }
}

export class MapJob implements SpaceJob {
  readonly isRemoval = false;
  readonly spaceId: number;
  readonly start: number;
  readonly end: number;
  readonly reply: (error: unknown) => void;
  readonly #space: Space;
  readonly #request: Extract<SpaceRequest, { type: 'map' }>;
  readonly #memory: Parameters<AddressSpace['map']>[0]['fd'];
  readonly #pieces: DmaMapping[] = [];
  #doneBytes = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    space: Space,
    request: Extract<SpaceRequest, { type: 'map' }>,
    memory: Parameters<AddressSpace['map']>[0]['fd'],
    reply: (error: unknown) => void,
  ) {
    this.spaceId = space.id;
    this.start = request.iova;
    this.end = request.iova + request.lengthBytes;
    this.reply = reply;
    this.#space = space;
    this.#request = request;
    this.#memory = memory;
  }

  async step(): Promise<boolean> {
    if (this.#failure === undefined) return this.#mapPiece();
    // All or nothing.
    await removeSome(this.#space, this.#pieces);
    if (this.#pieces.length > 0) return false;
    throw this.#failure.error;
  }

  async #mapPiece(): Promise<boolean> {
    const { offsetBytes, iova, lengthBytes, access, mappingId } = this.#request;
    const doneBytes = this.#doneBytes;
    const pieceBytes = Math.min(chunkBytes, lengthBytes - doneBytes);
    const memory = { fd: this.#memory, offsetBytes: offsetBytes + doneBytes };
    const { share, pieces, mappings } = this.#space;
    try {
      const at = (iova + doneBytes) as Iova;
      const piece = await share.map(memory, at, pieceBytes, access, unlimited());
      this.#pieces.push(piece);
      pieces.add(piece);
    } catch (error) {
      if (this.#pieces.length === 0) throw error;
      this.#failure = { error };
      return false;
    }
    this.#doneBytes += pieceBytes;
    if (this.#doneBytes < lengthBytes) return false;
    mappings.set(mappingId, this.#pieces);
    return true;
  }
}

export class UnmapJob implements SpaceJob {
  readonly isRemoval = true;
  readonly spaceId: number;
  readonly start: number;
  readonly end: number;
  readonly reply: (error: unknown) => void;
  readonly #space: Space;
  readonly #pieces: DmaMapping[];

  /** @param pieces - Of one mapping, lowest first. */
  constructor(space: Space, pieces: readonly DmaMapping[], reply: (error: unknown) => void) {
    const last = pieces.at(-1)!;
    this.spaceId = space.id;
    this.start = pieces[0]!.iova;
    this.end = last.iova + last.lengthBytes;
    this.reply = reply;
    this.#space = space;
    this.#pieces = [...pieces];
  }

  async step(): Promise<boolean> {
    await removeSome(this.#space, this.#pieces);
    return this.#pieces.length === 0;
  }
}

/** Removes everything, then the address space. Other jobs of it have been dropped. */
export class CloseJob implements SpaceJob {
  readonly isRemoval = true;
  readonly spaceId: number;
  readonly start = 0;
  readonly end = Number.POSITIVE_INFINITY;
  readonly reply: (error: unknown) => void;
  readonly #space: Space;
  #pieces: DmaMapping[] | undefined;

  constructor(space: Space, reply: (error: unknown) => void) {
    this.spaceId = space.id;
    this.reply = reply;
    this.#space = space;
  }

  async step(): Promise<boolean> {
    this.#pieces ??= [...this.#space.pieces];
    await removeSome(this.#space, this.#pieces);
    if (this.#pieces.length > 0) return false;
    await this.#space.share[Symbol.asyncDispose]();
    return true;
  }
}
