// Why the kernel did not map a file: it has one errno for several reasons.
import { isOsError, LessorError } from '../../base/errors.js';
import type { MemoryOs } from '../../os/memory-types.js';
import type { MapFileRequest } from '../requests.js';

/** @returns The reason in our words where it can be found, else the error as it is. */
export function mapRefusal(
  memory: Pick<MemoryOs, 'seals' | 'identity'>,
  { fd, start, length }: Pick<MapFileRequest, 'fd' | 'start' | 'length'>,
  error: unknown,
): unknown {
  if (!isOsError(error, 'EINVAL')) return error;
  try {
    // Of what is no memory, asking for the size could hang. A dma-buf is none, and may be mapped.
    memory.seals(fd);
  } catch (cause) {
    if (isOsError(cause)) return error;
    throw cause;
  }
  if (BigInt(memory.identity(fd).lengthBytes) >= start + length) return error;
  const detail = 'the memory ends before the range does';
  return new LessorError('MEMORY_TOO_SMALL', detail, { cause: error });
}
