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

function migrationOf({ endpoint }: CommandContext): EndpointMigration {
  if (endpoint.migration === undefined) refuse(name, 0, 'the device does not migrate');
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
  const migration = migrationOf(context);
  const size = checkSize(context, payload, 0);
  if (!isSaving(context.migration.state)) refuse(name, 0, `in state ${context.migration.state}`);
  const reply = (tail: Uint8Array): Reply => {
    assert(tail.length <= size, `${tail.length} bytes of state, at most ${size} were asked for`);
    return { head: migData.encode({ argsz: sizeBytes + tail.length, size: tail.length }), tail };
  };
  const data = migration.readData(size);
  return data instanceof Promise ? data.then(reply) : reply(data);
}

/** @see vfio-user MIG_DATA_WRITE */
export function writeMigrationData(
  context: CommandContext,
  { payload }: Message,
): Reply | Promise<Reply> {
  const migration = migrationOf(context);
  checkSize(context, payload, 1);
  const { state } = context.migration;
  if (state !== 'resuming') refuse(name, 0, `in state ${state}`);
  const done = migration.writeData(payload.subarray(sizeBytes));
  return done instanceof Promise ? done.then(() => emptyReply) : emptyReply;
}
