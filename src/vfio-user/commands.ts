// What the server does for each command: checks the payload, asks the endpoint, builds the reply.
// Nothing here knows of connections, order or framing.
import { assert, LessorError, OsError } from '../base/errors.js';
import { closeAll, type Fd } from '../os/fd.js';
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from '../uapi/vfio.js';
import {
  dirtyBitmapHeader,
  dmaMap,
  dmaUnmap,
  regionAccess,
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_MIG_DATA_WRITE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  VFIO_USER_VERSION,
} from '../uapi/vfio-user.js';
import { checkRegion } from './access.js';
import { checkArgsz, refuse } from './checks.js';
import type { CommandContext } from './context.js';
import { getInfo, getIrqInfo, getRegionInfo } from './describe.js';
import { addressEnd } from './dma/address.js';
import { decodeUnmap } from './dma/unmap.js';
import type { Message } from './framing.js';
import { getRegionIoFds } from './io-fds.js';
import { readMigrationData, writeMigrationData } from './migration/data.js';
import { useFeature } from './migration/feature.js';
import { readBitmap } from './migration/logging.js';
import { emptyReply, type Reply } from './reply.js';
import { decodeIrqChange } from './set-irqs.js';
import { writeRegions } from './write-multi.js';

/** The descriptors of a message until somebody takes them. */
export class MessageFds {
  #fds: readonly Fd[];

  constructor(fds: readonly Fd[]) {
    this.#fds = fds;
  }

  get list(): readonly Fd[] {
    return this.#fds;
  }

  /** From here on they are the caller's. */
  take(): readonly Fd[] {
    const fds = this.#fds;
    this.#fds = [];
    return fds;
  }

  closeRest(): void {
    closeAll(this.take());
  }
}

type Result = Reply | Promise<Reply>;
type Command = (context: CommandContext, message: Message, fds: MessageFds) => Result;

function after(done: void | Promise<void>, reply: Reply): Result {
  return done instanceof Promise ? done.then(() => reply) : reply;
}

function setIrqs({ endpoint }: CommandContext, message: Message, fds: MessageFds): Result {
  const { payload, refusedCount } = message;
  const change = decodeIrqChange(payload, fds.list, refusedCount, endpoint.irqs);
  if ('on' in change) {
    if (endpoint.setMaskEvents === undefined) {
      throw new LessorError('UNSUPPORTED', `an eventfd to ${change.on} with`);
    }
    fds.take();
    return after(endpoint.setMaskEvents(change), emptyReply);
  }
  if (change.action === 'bind') fds.take();
  return after(endpoint.setIrqs(change), emptyReply);
}

function mapDma({ endpoint }: CommandContext, message: Message, fds: MessageFds): Result {
  const { argsz, flags, offset, address, size } = dmaMap.decode(message.payload);
  checkArgsz(dmaMap.name, argsz, dmaMap.sizeBytes);
  const fdCount = fds.list.length + message.refusedCount;
  if (fdCount > 1) refuse(dmaMap.name, 0, `${fdCount} descriptors`);
  if (size === 0n) refuse(`${dmaMap.name}.size`, 24, 'is 0');
  if (address + size > addressEnd) refuse(`${dmaMap.name}.address`, 16, 'wraps with its size');
  if (offset + size > addressEnd) refuse(`${dmaMap.name}.offset`, 8, 'wraps with its size');
  if (message.refusedCount > 0) throw new LessorError('FD_REFUSED', 'the memory of a DMA map');
  const [fd] = fds.take();
  const readable = (flags & VFIO_USER_F_DMA_REGION_READ) !== 0;
  const writable = (flags & VFIO_USER_F_DMA_REGION_WRITE) !== 0;
  const terms = { iova: address, lengthBytes: size, offsetBytes: offset, readable, writable };
  // Assigned: a spread with `fd` behind it takes V8's slow path, there and where it is read.
  const request: typeof terms & { fd?: Fd } = terms;
  if (fd !== undefined) request.fd = fd;
  return after(endpoint.dmaMap(request), emptyReply);
}

function unmapDma(context: CommandContext, { payload }: Message): Result {
  const { endpoint } = context;
  const { range, argsz, bitmap } = decodeUnmap(payload);
  if (bitmap === undefined) return after(endpoint.dmaUnmap(range), { head: payload });
  if (endpoint.dirtyPages === undefined) throw new LessorError('UNSUPPORTED', 'no dirty bitmap');
  assert(range !== 'all', 'was refused');
  const room = Math.min(argsz - payload.length, Number(bitmap.lengthBytes));
  const { name } = dirtyBitmapHeader;
  const bits = readBitmap(context, `${name}.pgsize`, range, bitmap.pageBytes, room);
  const head = new Uint8Array(payload);
  const said = { pgsize: bitmap.pageBytes, size: BigInt(bits.length) };
  dirtyBitmapHeader.encodeAt(said, head, dmaUnmap.sizeBytes);
  return after(endpoint.dmaUnmap(range), { head, tail: bits });
}

/** The range of a region access, checked against region and flags. */
function checkAccess(context: CommandContext, payload: Uint8Array, flag: number) {
  const access = regionAccess.decodeAt(payload, 0);
  const region = checkRegion(regionAccess.name, context.endpoint.regions, access);
  const { count } = access;
  const dataBytes = flag === VFIO_REGION_INFO_FLAG_WRITE ? count : 0;
  if (payload.length !== regionAccess.sizeBytes + dataBytes) {
    refuse(`${regionAccess.name}.count`, 12, `${payload.length} bytes, count ${count}`);
  }
  if ((region.flags & flag) === 0) {
    throw new OsError('EPERM', 'vfio-user', `region ${access.region}`);
  }
  return access;
}

function readRegion(context: CommandContext, { payload }: Message): Result {
  const { offset, region, count } = checkAccess(context, payload, VFIO_REGION_INFO_FLAG_READ);
  if (count === 0) return emptyReply;
  const reply = (tail: Uint8Array): Reply => {
    assert(tail.length === count, `${tail.length} bytes were read instead of ${count}`);
    return { head: payload, tail };
  };
  const data = context.endpoint.read(region, offset, count);
  return data instanceof Promise ? data.then(reply) : reply(data);
}

function writeRegion(context: CommandContext, { header, payload }: Message): Result {
  const { offset, region, count } = checkAccess(context, payload, VFIO_REGION_INFO_FLAG_WRITE);
  if (count === 0) return emptyReply;
  const noReply = (header.flags & VFIO_USER_F_NO_REPLY) !== 0;
  const data = payload.subarray(regionAccess.sizeBytes);
  const head = payload.subarray(0, regionAccess.sizeBytes);
  return after(context.endpoint.write(region, offset, data, noReply), { head });
}

function resetDevice({ endpoint, migration }: CommandContext, { payload }: Message): Result {
  if (payload.length !== 0) refuse('vfio_user_device_reset', 0, `${payload.length} bytes`);
  if (endpoint.reset === undefined) throw new LessorError('UNSUPPORTED', 'no reset');
  const done = endpoint.reset();
  const reply = (): Reply => {
    migration.reset();
    return emptyReply;
  };
  return done instanceof Promise ? done.then(reply) : reply();
}

function versionAgain(): never {
  refuse('vfio_user_header.command', 2, 'VERSION came before');
}

const commands = new Map<number, Command>([
  [VFIO_USER_VERSION, versionAgain],
  [VFIO_USER_DMA_MAP, mapDma],
  [VFIO_USER_DMA_UNMAP, unmapDma],
  [VFIO_USER_DEVICE_GET_INFO, getInfo],
  [VFIO_USER_DEVICE_GET_REGION_INFO, getRegionInfo],
  [VFIO_USER_DEVICE_GET_REGION_IO_FDS, getRegionIoFds],
  [VFIO_USER_DEVICE_GET_IRQ_INFO, getIrqInfo],
  [VFIO_USER_DEVICE_SET_IRQS, setIrqs],
  [VFIO_USER_REGION_READ, readRegion],
  [VFIO_USER_REGION_WRITE, writeRegion],
  [VFIO_USER_DEVICE_RESET, resetDevice],
  [VFIO_USER_REGION_WRITE_MULTI, writeRegions],
  [VFIO_USER_DEVICE_FEATURE, useFeature],
  [VFIO_USER_MIG_DATA_READ, readMigrationData],
  [VFIO_USER_MIG_DATA_WRITE, writeMigrationData],
]);

function checkHeader({ header }: Message): void {
  const { flags, errno } = header;
  // The type bits are 0: this is a command.
  if ((flags & ~VFIO_USER_F_NO_REPLY) !== 0) refuse('vfio_user_header.flags', 8, `${flags}`);
  if (errno !== 0) refuse('vfio_user_header.errno', 12, 'is set in a command');
}

/**
 * Executes one command. Descriptors that the endpoint did not take are closed when this returns.
 *
 * @throws what the endpoint throws; ProtocolError, LessorError, OsError for what the client did
 *   wrong: the errno is the answer.
 */
export function execute(context: CommandContext, message: Message): Result {
  const fds = new MessageFds(message.fds);
  try {
    checkHeader(message);
    const command = commands.get(message.header.command);
    if (command === undefined) {
      throw new OsError('ENOSYS', 'vfio-user', `command ${message.header.command}`);
    }
    context.migration.check(message.header.command);
    return command(context, message, fds);
  } finally {
    fds.closeRest();
  }
}
