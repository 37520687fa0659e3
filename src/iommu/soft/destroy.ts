// IOMMU_DESTROY, and the end of a context.
import { assert } from '../../base/errors.js';
import type { SoftContext, SoftObject } from './context.js';
import { fail } from './objects.js';
import { unmapAll } from './unmap.js';

const call = 'IOMMU_DESTROY';

/** @throws OsError `ENOENT`, `EBUSY` */
export function destroyObject(context: SoftContext, id: number): void {
  const object = context.objects.get(id);
  if (object === undefined) throw fail('ENOENT', call, `object ${id}`);
  if (isInUse(object)) throw fail('EBUSY', call, `object ${id}`);
  end(context, object);
}

/** Every object, what nothing uses first, until none is left. Devices are closed. */
export function destroyAll(context: SoftContext): void {
  for (;;) {
    const objects = context.objects.all();
    if (objects.length === 0) return;
    const free = objects.filter((object) => object.kind !== 'device' && !isInUse(object));
    for (const object of free) {
      // The end of another may have been the end of this one, or have given its id away.
      if (context.objects.get(object.id) === object && !isInUse(object)) end(context, object);
    }
    if (free.length > 0) continue;
    const device = objects.find((object) => object.kind === 'device');
    assert(device !== undefined, 'objects that use each other');
    device.close();
  }
}

function end(context: SoftContext, object: SoftObject): void {
  context.objects.remove(object.id);
  switch (object.kind) {
    case 'ioas':
      if (context.compatIoas === object) context.compatIoas = undefined;
      unmapAll(context, object);
      break;
    case 'device':
      object.close();
      break;
    default:
      object.destroy();
  }
}

/** Whether an object, an attachment or an open file refers to it. */
export function isInUse(object: SoftObject): boolean {
  switch (object.kind) {
    case 'device':
      return true;
    case 'ioas':
      return object.domains.length > 0 || object.accesses.size > 0;
    default:
      return object.useCount > 0;
  }
}
