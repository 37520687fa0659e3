// What a server offers for windows with memory of their own: which of its regions takes the
// commands, and which frames it can swap. All of it comes from another process and is judged.
import { ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, isAligned } from '../../base/units.js';
import { VFIO_PCI_NUM_REGIONS } from '../../uapi/vfio.js';
import {
  windowFrame,
  windowFrameWritable,
  windowRegionHeader,
  windowRegionMagic,
  windowRegionType,
  windowRegionVersion,
} from '../../uapi/window-region.js';
import type { VfioUserClient } from '../../vfio-user/client.js';
import type { FramePlace } from '../frame-map.js';
import type { RegionInfo } from '../types.js';

/** A server's offer. */
export interface WindowOffer {
  /** Index of the region of commands. */
  readonly region: number;
  /** By region, then by offset. */
  readonly places: readonly FramePlace[];
}

const { sizeBytes: headBytes } = windowRegionHeader;
const offerBytesMax = headBytes + limits.vfioUserWindowFramesMax * windowFrame.sizeBytes;

function refuse(field: string, at: number, detail: string): never {
  throw new ProtocolError(`lessor_window_region.${field}`, at, detail);
}

/**
 * Takes the list of frames apart. Pure.
 *
 * @param bytes - The whole region.
 * @param regions - Of the function: frames lie inside them, in order and apart.
 * @returns Undefined for a version that is not known here.
 * @throws ProtocolError for nonsense, and for more than `limits.vfioUserWindowFramesMax` frames.
 */
export function decodeWindowFrames(
  bytes: Uint8Array,
  regions: readonly RegionInfo[],
  pageBytes: number,
): FramePlace[] | undefined {
  const { magic, version, frameCount } = windowRegionHeader.decodeAt(bytes, 0);
  if (magic !== windowRegionMagic) refuse('magic', 0, hex(magic));
  if (version !== windowRegionVersion) return undefined;
  if (frameCount > limits.vfioUserWindowFramesMax) refuse('frameCount', 8, `${frameCount} frames`);
  if (bytes.length !== headBytes + frameCount * windowFrame.sizeBytes) {
    refuse('frameCount', 8, `${frameCount} frames in ${bytes.length} bytes`);
  }
  const places: FramePlace[] = [];
  for (let index = 0; index < frameCount; index += 1) {
    const at = headBytes + index * windowFrame.sizeBytes;
    const { region, flags, offset, length } = windowFrame.decodeAt(bytes, at);
    const last = places.at(-1);
    const isNext =
      last === undefined ||
      region > last.region ||
      (region === last.region && offset >= last.offsetBytes + last.lengthBytes);
    const isWhole = length > 0 && isAligned(offset, pageBytes) && isAligned(length, pageBytes);
    const shown = regions.find((candidate) => candidate.index === region)?.lengthBytes ?? 0;
    if (!isNext || !isWhole || offset + length > shown) {
      refuse('frames', at, `${hex(length)} bytes at ${hex(offset)} of region ${region}`);
    }
    const writable = (flags & windowFrameWritable) !== 0;
    places.push({ index, region, offsetBytes: offset, lengthBytes: length, writable });
  }
  return places;
}

/**
 * Asks a server for its offer.
 *
 * @param regionBytes - Lengths of all its regions, by index.
 * @returns Undefined when it has none.
 * @throws As `decodeWindowFrames`, and as the client's methods reject.
 */
export async function readWindowOffer(
  client: VfioUserClient,
  regionBytes: readonly number[],
  regions: readonly RegionInfo[],
  pageBytes: number,
): Promise<WindowOffer | undefined> {
  for (let region = VFIO_PCI_NUM_REGIONS; region < regionBytes.length; region += 1) {
    const { type, lengthBytes, fd } = await client.regionInfo(region);
    fd?.close();
    const isOffer =
      type?.type === windowRegionType.type && type.subtype === windowRegionType.subtype;
    if (!isOffer) continue;
    if (lengthBytes > offerBytesMax) refuse('frameCount', 8, `${lengthBytes} bytes`);
    const bytes = await client.regionRead(region, 0, lengthBytes);
    const places = decodeWindowFrames(bytes, regions, pageBytes);
    return places === undefined || places.length === 0 ? undefined : { region, places };
  }
  return undefined;
}
