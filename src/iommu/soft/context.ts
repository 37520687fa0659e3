// What the parts of one soft iommufd share.
import { assert, isLessorError, type OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import type { Area } from './area.js';
import type { Extents } from './extents.js';
import type { Hwpt } from './hwpt.js';
import type { Invalidation } from './invalidation.js';
import type { Ioas } from './ioas.js';
import type { NodePool } from './node-pool.js';
import { fail, type ObjectTable } from './objects.js';
import type { SoftDevice } from './soft-device.js';

export type SoftObject = Ioas | Hwpt | SoftDevice;

export interface SoftContext {
  readonly objects: ObjectTable<SoftObject>;
  readonly pool: NodePool;
  readonly extents: Extents;
  readonly invalidation: Invalidation;
}

/** @throws OsError `ENOENT`, also for an object of another kind. */
export function findIoas(context: SoftContext, id: number, call: string): Ioas {
  const object = context.objects.get(id);
  if (object?.kind !== 'ioas') throw fail('ENOENT', call, `ioas ${id}`);
  return object;
}

/** Places the memory of an area, or finds it placed. @throws OsError `EINVAL`, `ENOMEM`, ... */
export function pin(context: SoftContext, area: Area, fd: Fd | undefined, call: string): void {
  if (area.isUnreachable || area.extents !== undefined) return;
  assert(fd !== undefined, 'an area without extents has a file');
  try {
    area.extents = context.extents.acquire(
      fd,
      Number(area.fileStart),
      area.end - area.at,
      (area.protection & IOMMU_IOAS_MAP_WRITEABLE) !== 0,
      area.account,
      area,
    );
  } catch (error) {
    throw pinError(error, call);
  }
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
    if (area.extents !== undefined) {
      context.extents.release(area.extents, area.account, area);
      area.extents = undefined;
    }
    area.file?.close();
  }
}

/** The OsError of a failed placement or of missing table pages, with the reason as its cause. */
export function pinError(error: unknown, call: string): unknown {
  if (!isLessorError(error)) return error;
  return fail(pinErrno(error.code), call, error.message, error);
}

function pinErrno(code: string): OsError['errno'] {
  switch (code) {
    case 'ARENA_FULL':
    case 'QUOTA_EXCEEDED':
      return 'ENOMEM';
    // Linux maps these; a shared mapping of the process cannot.
    case 'MEMORY_READ_ONLY':
      return 'EACCES';
    case 'MEMORY_WRITE_SEALED':
      return 'EPERM';
    default:
      return 'EINVAL';
  }
}
