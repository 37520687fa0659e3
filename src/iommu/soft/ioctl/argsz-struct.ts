// The structures of VFIO: they begin with how many bytes the caller has, and need not be whole.
import type { Struct } from '../../../uapi/struct.js';
import { fail } from '../objects.js';
import type { UserArgument } from './user-argument.js';

/**
 * Reads the first `leastBytes` of a structure; the rest is zero.
 *
 * @throws OsError `EFAULT`, then `EINVAL` when the caller says that it has fewer
 */
export function readArgsz<T extends { readonly argsz: number }>(
  argument: UserArgument,
  struct: Struct<T>,
  leastBytes: number,
): T {
  const bytes = new Uint8Array(struct.sizeBytes);
  bytes.set(argument.read(0, leastBytes));
  const fields = struct.decode(bytes);
  if (fields.argsz < leastBytes) throw fail('EINVAL', struct.name, `argsz ${fields.argsz}`);
  return fields;
}
