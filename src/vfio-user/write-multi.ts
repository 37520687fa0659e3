// REGION_WRITE_MULTI: several small writes in one message, done in order.
import { errnoOf, OsError } from '../base/errors.js';
import { VFIO_REGION_INFO_FLAG_WRITE } from '../uapi/vfio.js';
import {
  regionWriteMulti,
  regionWriteMultiEntry,
  VFIO_USER_F_NO_REPLY,
} from '../uapi/vfio-user.js';
import { checkRegion } from './access.js';
import { refuse } from './checks.js';
import type { CommandContext } from './context.js';
import type { Message } from './framing.js';
import type { Reply } from './reply.js';

/** One write, its range checked. */
interface Write {
  readonly region: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

const { name, sizeBytes } = regionWriteMulti;
const entryBytes = regionWriteMultiEntry.sizeBytes;
/** A device write that this format can describe. */
const dataBytesMax = 8;

function decodeWrites({ endpoint }: CommandContext, payload: Uint8Array): Write[] {
  const { count } = regionWriteMulti.decodeAt(payload, 0);
  if (payload.length !== sizeBytes + count * entryBytes) {
    refuse(`${name}.count`, 0, `${count} writes in ${payload.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) => {
    const at = sizeBytes + index * entryBytes;
    const entry = regionWriteMultiEntry.decodeAt(payload, at);
    if (entry.count === 0 || entry.count > dataBytesMax) {
      refuse(`${regionWriteMultiEntry.name}.count`, at + 12, `${entry.count}`);
    }
    const region = checkRegion(regionWriteMultiEntry.name, endpoint.regions, entry);
    if ((region.flags & VFIO_REGION_INFO_FLAG_WRITE) === 0) {
      throw new OsError('EPERM', 'vfio-user', `region ${entry.region}`);
    }
    return {
      region: entry.region,
      offset: entry.offset,
      data: entry.data.subarray(0, entry.count),
    };
  });
}

/**
 * Nothing is written when one of the writes is malformed. When one fails, those after it are not
 * done: the first failure is answered with its errno, a later one with the count of those done.
 *
 * @see vfio-user REGION_WRITE_MULTI
 */
export async function writeRegions(context: CommandContext, message: Message): Promise<Reply> {
  const { header, payload } = message;
  if (!context.agreed.writeMultiple) {
    throw new OsError('ENOSYS', 'vfio-user', 'write_multiple was not agreed on');
  }
  const writes = decodeWrites(context, payload);
  const noReply = (header.flags & VFIO_USER_F_NO_REPLY) !== 0;
  let count = 0;
  for (const { region, offset, data } of writes) {
    if (!context.isLive()) break;
    try {
      await context.endpoint.write(region, offset, data, noReply);
    } catch (error) {
      if (count === 0 || errnoOf(error) === undefined) throw error;
      break;
    }
    count++;
  }
  return { head: regionWriteMulti.encode({ count }) };
}
