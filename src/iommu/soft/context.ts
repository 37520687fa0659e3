// What the parts of one soft iommufd share.
import type { PinnableMemory } from '../user-memory.js';
import type { SoftAccess } from './access.js';
import type { Area } from './area.js';
import type { Extents } from './extents.js';
import type { FaultObject } from './fault-object.js';
import type { ForeignObject } from './foreign.js';
import type { HeldFiles } from './held-file.js';
import type { Hwpt } from './hwpt.js';
import type { Invalidation } from './invalidation.js';
import type { Ioas } from './ioas.js';
import type { NestedHwpt } from './nested-hwpt.js';
import type { NodePool } from './node-pool.js';
import { fail, type ObjectTable } from './objects.js';
import type { Pin } from './pages.js';
import type { Payment } from './payment.js';
import { unpin, unpinAll } from './pin.js';
import type { SoftDevice } from './soft-device.js';

export type SoftObject =
  | SoftAccess
  | Ioas
  | Hwpt
  | NestedHwpt
  | SoftDevice
  | FaultObject
  | ForeignObject;

export interface SoftContext {
  readonly objects: ObjectTable<SoftObject>;
  readonly pool: NodePool;
  readonly extents: Extents;
  readonly invalidation: Invalidation;
  readonly files: HeldFiles;
  /** Files stay with their areas, so that the last domain to leave takes placed memory along. */
  readonly keepsFiles: boolean;
  /** Undefined: there is none. */
  readonly userMemory: PinnableMemory | undefined;
  /** What keeps the context alive when its own file is closed: devices, open fault queues. */
  readonly holders: Set<{ close(): void }>;
  /** One of them is gone. */
  dropHolder(holder: { close(): void }): void;
  /** Undefined: pinned pages are not counted. */
  readonly payment: Payment | undefined;
  /** For the calls of the legacy container. */
  compatIoas: Ioas | undefined;
}

/** @throws OsError `ENOENT`, also for an object of another kind. */
export function findIoas(context: SoftContext, id: number, call: string): Ioas {
  const object = context.objects.get(id);
  if (object?.kind !== 'ioas') throw fail('ENOENT', call, `ioas ${id}`);
  return object;
}

/**
 * Frees what removed areas and table nodes held, once no device can use it.
 *
 * @param areas - Already out of their IOAS and of every table.
 */
export function releaseWhenSettled(
  context: SoftContext,
  areas: readonly Area[],
  hwpts: readonly Hwpt[],
): void {
  const nodes = context.pool.takeRetired();
  if (context.invalidation.acknowledgeNow()) {
    release(context, nodes, areas, hwpts);
    return;
  }
  const users = [...hwpts];
  // Whoever must know asks `settled`.
  void context.invalidation.invalidate(() => release(context, nodes, areas, users));
}

/**
 * After the last domain left: gives up what can be placed again. Areas whose file nobody keeps
 * hold on to what they have.
 */
export function unpinWhenSettled(context: SoftContext, ioas: Ioas): void {
  const pins: Pin[] = [];
  for (const area of ioas.areas) {
    if (area.pages?.canPlaceAgain !== true || ioas.uses.has(area)) continue;
    pins.push(...area.pages.takePins(area));
    area.extents = undefined;
    context.payment?.update(area.pages);
  }
  if (pins.length === 0) return;
  void context.invalidation.invalidate(() => unpinAll(context, pins));
}

function release(
  context: SoftContext,
  nodes: readonly number[] | undefined,
  areas: readonly Area[],
  hwpts: readonly Hwpt[],
): void {
  if (nodes !== undefined) context.pool.release(nodes);
  for (let index = 0; index < areas.length; index++) {
    const area = areas[index]!;
    for (let each = 0; each < hwpts.length; each++) hwpts[each]!.releaseCharge(area.account);
    unpin(context, area);
    area.pages?.leave(area);
  }
}
