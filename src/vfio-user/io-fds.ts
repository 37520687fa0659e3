// DEVICE_GET_REGION_IO_FDS: descriptors that stand in for register messages, both roles.
import { OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import { u32, u64 } from '../uapi/struct.js';
import {
  ioFdEntry,
  regionIoFds,
  VFIO_USER_IO_FD_TYPE_IOEVENTFD,
  VFIO_USER_IO_FD_TYPE_IOEVENTFD_SHADOW,
  VFIO_USER_IO_FD_TYPE_IOREGIONFD,
} from '../uapi/vfio-user.js';
import { checkArgsz, refuse } from './checks.js';
import type { CommandContext } from './context.js';
import type { RegionIoFd } from './endpoint.js';
import type { Message } from './framing.js';
import type { Reply } from './reply.js';

const ioFdsBytesMax = 1_048_576;
const { name, sizeBytes, offsets } = regionIoFds;
const entryBytes = ioFdEntry.sizeBytes;

const types = {
  ioeventfd: VFIO_USER_IO_FD_TYPE_IOEVENTFD,
  ioregionfd: VFIO_USER_IO_FD_TYPE_IOREGIONFD,
} as const;

function encodeEntries(entries: readonly RegionIoFd[], fds: readonly Fd[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * entryBytes);
  entries.forEach((entry, index) => {
    const value = {
      offset: BigInt(entry.offsetBytes),
      size: BigInt(entry.lengthBytes),
      fdIndex: fds.indexOf(entry.fd),
      type: types[entry.kind],
      flags: entry.flags,
      padding: 0,
      datamatch: entry.data,
    };
    ioFdEntry.encodeAt(value, bytes, index * entryBytes);
  });
  return bytes;
}

function answer(
  index: number,
  argsz: number,
  entries: readonly RegionIoFd[],
  fdsMax: number,
): Reply {
  const fds = [...new Set(entries.map(({ fd }) => fd))];
  const full = sizeBytes + entries.length * entryBytes;
  const head = regionIoFds.encode({ argsz: full, flags: 0, index, count: entries.length });
  if (argsz < full) {
    closeAll(fds);
    return { head };
  }
  if (fds.length > fdsMax) {
    closeAll(fds);
    throw new OsError('E2BIG', 'vfio-user', `${fds.length} descriptors for region ${index}`);
  }
  const tail = encodeEntries(entries, fds);
  return fds.length === 0 ? { head } : { head, tail, fds };
}

/** Each object's descriptor goes once, whatever the number of its entries. */
export function getRegionIoFds(context: CommandContext, { payload }: Message): Reply {
  const { endpoint, peer } = context;
  const { argsz, flags, index, count } = regionIoFds.decode(payload);
  checkArgsz(name, argsz, sizeBytes);
  if (argsz > ioFdsBytesMax) refuse(`${name}.argsz`, 0, `${argsz}`);
  if (flags !== 0) refuse(`${name}.flags`, offsets.flags ?? 0, `${flags}`);
  if (count !== 0) refuse(`${name}.count`, offsets.count ?? 0, `${count}`);
  const region = endpoint.regions[index];
  if (region === undefined || region.flags === 0) refuse(`${name}.index`, 8, `${index}`);
  const entries = endpoint.regionIoFds?.(index) ?? [];
  return answer(index, argsz, entries, Math.min(limits.vfioUserFdsMax, peer.maxMsgFds));
}

/** An entry as a server gives it. */
export interface VfioUserIoFd {
  readonly offsetBytes: bigint;
  /** 0: of no matter. */
  readonly lengthBytes: bigint;
  /** The last is libvfio-user's own: it also has memory that the written value goes to. */
  readonly kind: 'ioeventfd' | 'ioregionfd' | 'shadow-ioeventfd';
  /** As KVM_IOEVENTFD or KVM_SET_IOREGION takes them. */
  readonly flags: number;
  /** `datamatch` of an ioeventfd, `user_data` of an ioregionfd. */
  readonly data: bigint;
  /** Entries of one object share it; the caller closes it. Undefined: none came with the entry. */
  readonly fd: Fd | undefined;
  readonly shadow: { readonly fd: Fd; readonly offsetBytes: bigint } | undefined;
}

const kindOf = new Map<number, VfioUserIoFd['kind']>([
  [VFIO_USER_IO_FD_TYPE_IOEVENTFD, 'ioeventfd'],
  [VFIO_USER_IO_FD_TYPE_IOREGIONFD, 'ioregionfd'],
  [VFIO_USER_IO_FD_TYPE_IOEVENTFD_SHADOW, 'shadow-ioeventfd'],
]);

/** libvfio-user has longer entries, with two fields for the shadow memory before the data. */
const shadowEntryBytes = 48;
/** In place of a descriptor that there is none of. */
const noFd = 0xffff_ffff;

function fdAt(fds: readonly Fd[], index: number, at: number): Fd | undefined {
  if (index === noFd) return undefined;
  const fd = fds[index];
  if (fd !== undefined) return fd;
  throw new ProtocolError(`${ioFdEntry.name}.fd_index`, at, `${index} of ${fds.length}`);
}

function decodeEntry(payload: Uint8Array, at: number, stride: number, fds: readonly Fd[]) {
  const entry = ioFdEntry.decodeAt(payload, at);
  const kind = kindOf.get(entry.type);
  if (kind === undefined) {
    throw new ProtocolError(`${ioFdEntry.name}.type`, at + 20, `${entry.type}`);
  }
  const isLong = stride >= shadowEntryBytes;
  const isShadow = isLong && kind === 'shadow-ioeventfd';
  const shadowFd = isShadow ? fdAt(fds, u32.read(payload, at + 28, 'shadow_fd'), at) : undefined;
  const shadowOffset = u64.read(payload, at + 32, 'shadow_offset');
  const found: VfioUserIoFd = {
    offsetBytes: entry.offset,
    lengthBytes: entry.size,
    kind,
    flags: entry.flags,
    data: isLong ? u64.read(payload, at + 40, 'datamatch') : entry.datamatch,
    fd: fdAt(fds, entry.fdIndex, at),
    shadow: shadowFd === undefined ? undefined : { fd: shadowFd, offsetBytes: shadowOffset },
  };
  return found;
}

/**
 * Reads a reply to DEVICE_GET_REGION_IO_FDS; entries are as long as the reply says, 40 bytes in
 * the specification, 48 of libvfio-user. Descriptors that no entry names are closed.
 *
 * @returns The entries, or the bytes to ask with when they did not fit. `fds` stay the caller's
 *   when this throws.
 * @throws ProtocolError
 */
export function readRegionIoFds(
  { payload, fds }: Message,
  index: number,
  askedBytes: number,
): readonly VfioUserIoFd[] | number {
  const info = regionIoFds.decodeAt(payload, 0);
  const { argsz, count } = info;
  if (info.index !== index) throw new ProtocolError(`${name}.index`, 8, `${info.index}`);
  if (count > limits.vfioUserIoFdEntriesMax) {
    throw new ProtocolError(`${name}.count`, 12, `${count} entries`);
  }
  if (argsz > askedBytes) {
    if (argsz > ioFdsBytesMax) throw new ProtocolError(`${name}.argsz`, 0, `${argsz} bytes`);
    closeAll(fds);
    return argsz;
  }
  if (argsz !== payload.length) {
    throw new ProtocolError(`${name}.argsz`, 0, `${argsz} in a reply of ${payload.length} bytes`);
  }
  const stride = count === 0 ? entryBytes : (argsz - sizeBytes) / count;
  // Of shorter ones, the last does not fit.
  if (!Number.isInteger(stride)) {
    throw new ProtocolError(`${name}.argsz`, 0, `${count} entries in ${argsz} bytes`);
  }
  const entries = Array.from({ length: count }, (_, entry) =>
    decodeEntry(payload, sizeBytes + entry * stride, stride, fds),
  );
  const named = new Set(entries.flatMap(({ fd, shadow }) => [fd, shadow?.fd]));
  closeAll(fds.filter((fd) => !named.has(fd)));
  return entries;
}
