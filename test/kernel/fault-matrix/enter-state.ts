// Each state of the matrix, as the calls that lead to it.
import type { State } from './cells.js';
import { pageBytes, transferBytes } from './matrix-memory.js';
import type { Space, Stage } from './stage.js';

/** Where the target is mapped, or was. A device with 28 bits of address reaches it. */
export const targetIova = 0x0800_0000;
/** What the device presents, and what another one is attached by. */
const ownPasid = 5;
const otherPasid = 6;

/** The access to make. */
export interface Aim {
  readonly iova: number;
  /** Of the first byte in its page. */
  readonly offsetBytes: number;
  /** Address of the page that refuses, if one does. */
  readonly refusedPage: number;
  readonly pasid: number | undefined;
}

const plainAim: Aim = {
  iova: targetIova + 64,
  offsetBytes: 64,
  refusedPage: targetIova,
  pasid: undefined,
};

/** Everything that is taken away was used before, so that a translation kept for too long shows. */
export async function enterState(stage: Stage, state: State): Promise<Aim> {
  const space = stage.createSpace();
  const isProtection = state === 'read-only' || state === 'write-only';
  stage.map(space, targetIova, 'target', isProtection ? state : 'read-write');
  if (state === 'mapped for another PASID' || state === 'its PASID detached') {
    await attachPasids(stage, space, state);
    return { ...plainAim, pasid: ownPasid };
  }
  await stage.attach(space);
  if (!isProtection) await stage.port.touch(plainAim.iova, undefined);
  switch (state) {
    case 'unmapped':
      await stage.unmap(space, targetIova);
      break;
    case 'detached':
      await stage.detach();
      break;
    case 'replaced by an IOAS without it':
      await stage.attach(stage.createSpace());
      break;
    case 'replaced by an IOAS with other memory': {
      const next = stage.createSpace();
      stage.map(next, targetIova, 'other', 'read-write');
      await stage.attach(next);
      break;
    }
    case 'a hole after its first half': {
      const offsetBytes = pageBytes - transferBytes / 2;
      const iova = targetIova + offsetBytes;
      return { ...plainAim, iova, offsetBytes, refusedPage: targetIova + pageBytes };
    }
  }
  return plainAim;
}

async function attachPasids(
  stage: Stage,
  space: Space,
  state: 'mapped for another PASID' | 'its PASID detached',
): Promise<void> {
  const pasid = state === 'its PASID detached' ? ownPasid : otherPasid;
  await stage.attach(space, pasid);
  await stage.port.touch(plainAim.iova, pasid);
  if (pasid === ownPasid) await stage.detach(pasid);
  else await stage.attach(stage.createSpace(), ownPasid);
}
