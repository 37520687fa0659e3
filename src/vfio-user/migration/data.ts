// MIG_DATA_READ and MIG_DATA_WRITE: the state of the device as a stream of bytes.
import { assert } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { migData } from '../../uapi/vfio-user.js';
import { checkArgsz, refuse } from '../checks.js';
import type { CommandContext } from '../context.js';
import type { EndpointMigration } from '../endpoint.js';
import type { Message } from '../framing.js';
import { emptyReply, type Reply } from '../reply.js';
import { isSaving } from './states.js';

const { name, sizeBytes } = migData;

/** To be asked when the state is known: a device that does not migrate only runs. */
function migrationOf({ endpoint }: CommandContext): EndpointMigration {
  assert(endpoint.migration !== undefined, 'it has left running');
  return endpoint.migration;
}

function checkSize({ peer }: CommandContext, payload: Uint8Array, dataBytes: number): number {
  const { argsz, size } = migData.decodeAt(payload, 0);
  const sizeMax = Math.min(limits.vfioUserDataBytesMax, peer.maxDataXferBytes);
  if (size > sizeMax) refuse(`${name}.size`, 4, `${size} is over ${sizeMax}`);
  checkArgsz(name, argsz, sizeBytes + size);
  if (payload.length !== sizeBytes + dataBytes * size) {
    refuse(name, sizeBytes, `${payload.length} bytes, size ${size}`);
  }
  return size;
}

/** @see vfio-user MIG_DATA_READ */
export function readMigrationData(
  context: CommandContext,
  { payload }: Message,
): Reply | Promise<Reply> {
  const size = checkSize(context, payload, 0);
  if (!isSaving(context.migration.state)) refuse(name, 0, `in state ${context.migration.state}`);
  const reply = (tail: Uint8Array): Reply => {
    assert(tail.length <= size, `${tail.length} bytes of state, at most ${size} were asked for`);
    return { head: migData.encode({ argsz: sizeBytes + tail.length, size: tail.length }), tail };
  };
  const data = migrationOf(context).readData(size);
  return data instanceof Promise ? data.then(reply) : reply(data);
}

/** @see vfio-user MIG_DATA_WRITE */
export function writeMigrationData(
  context: CommandContext,
  { payload }: Message,
): Reply | Promise<Reply> {
  checkSize(context, payload, 1);
  const { state } = context.migration;
  if (state !== 'resuming') refuse(name, 0, `in state ${state}`);
  const done = migrationOf(context).writeData(payload.subarray(sizeBytes));
  return done instanceof Promise ? done.then(() => emptyReply) : emptyReply;
}
