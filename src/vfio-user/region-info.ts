// What a server says of a region, judged and put into words.
import { ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import { decodeRegionCaps, type RegionType, type SparseArea } from '../uapi/region-caps.js';
import {
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/vfio.js';
import { regionInfo } from '../uapi/vfio-user.js';
import type { Message } from './framing.js';

export interface VfioUserRegionInfo {
  readonly index: number;
  /** 0: the region is not there. */
  readonly lengthBytes: number;
  /** VFIO_REGION_INFO_FLAG_* as the server gave them. */
  readonly flags: number;
  readonly readable: boolean;
  readonly writable: boolean;
  /** What may be mapped; empty without `fd`. */
  readonly areas: readonly SparseArea[];
  /** The caller owns it. */
  readonly fd: Fd | undefined;
  /** Where the region's first byte lies in the file of `fd`. */
  readonly fdOffsetBytes: number;
  /** What a region past the PCI ones (index 9 and up) is. */
  readonly type: RegionType | undefined;
}

/**
 * Reads a reply to DEVICE_GET_REGION_INFO.
 *
 * @param askedBytes - The argsz that was asked with; no reply is longer.
 * @returns The information, or the bytes to ask with when it did not fit; descriptors are closed
 *   then. They stay the caller's when this throws.
 * @throws ProtocolError
 */
export function readRegionInfo(
  { payload, fds }: Message,
  index: number,
  askedBytes: number,
): VfioUserRegionInfo | number {
  const info = regionInfo.decodeAt(payload, 0);
  const { argsz, flags, size, offset } = info;
  const { name } = regionInfo;
  if (info.index !== index) throw new ProtocolError(`${name}.index`, 8, `${info.index}`);
  if (argsz > askedBytes) {
    if (argsz > limits.vfioUserRegionInfoBytesMax) {
      throw new ProtocolError(`${name}.argsz`, 0, `${argsz} bytes of region information`);
    }
    closeAll(fds);
    return argsz;
  }
  if (argsz !== payload.length) {
    throw new ProtocolError(`${name}.argsz`, 0, `${argsz} in a reply of ${payload.length} bytes`);
  }
  const [fd] = fds;
  const isMappable = (flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0 && fd !== undefined;
  const capOffset = (flags & VFIO_REGION_INFO_FLAG_CAPS) !== 0 ? info.capOffset : 0;
  const whole = [{ offsetBytes: 0, lengthBytes: size }];
  const caps = decodeRegionCaps(payload, capOffset, size);
  const areas = isMappable ? (caps.areas ?? whole) : [];
  if (!isMappable) closeAll(fds);
  return {
    index,
    lengthBytes: size,
    flags,
    readable: (flags & VFIO_REGION_INFO_FLAG_READ) !== 0,
    writable: (flags & VFIO_REGION_INFO_FLAG_WRITE) !== 0,
    areas,
    fd: isMappable ? fd : undefined,
    fdOffsetBytes: offset,
    type: caps.type,
  };
}
