// Which unassigned feature numbers of the kernel may be tried, and how an operator says so.
import { LessorError } from '../../base/errors.js';
import { unassignedFeatures } from '../../uapi/vfio-dma-buf.js';

/**
 * Which unassigned feature numbers may be tried: `look` tries all, `none` not one, so that every
 * window is mediated; or the numbers that the kernel is known to have, which are tried as well.
 */
export type DmaBufFeatures =
  | 'look'
  | 'none'
  | { readonly revoke?: number; readonly memory?: number };

function parseNumber(text: string | undefined, whole: string): number {
  const { first } = unassignedFeatures;
  const feature = /^\d{1,5}$/.test(text ?? '') ? Number(text) : -1;
  if (feature >= first && feature <= 0xffff) return feature;
  const detail = `"${whole}" is neither "look" nor "none" nor REVOKE or REVOKE,MEMORY`;
  const hint = `give numbers from ${first}, as the kernel's linux/vfio.h has them: "14,15"`;
  throw new LessorError('INVALID_ARGUMENT', detail, { hint });
}

/**
 * Reads `look`, `none`, or one or two numbers: `14`, `14,15`.
 *
 * @throws LessorError `INVALID_ARGUMENT`, for numbers too that releases of the kernel have assigned
 */
export function parseDmaBufFeatures(text: string): DmaBufFeatures {
  if (text === 'look' || text === 'none') return text;
  const [revoke, memory, ...more] = text.split(',');
  const found = { revoke: parseNumber(more.length > 0 ? undefined : revoke, text) };
  return memory === undefined ? found : { ...found, memory: parseNumber(memory, text) };
}
