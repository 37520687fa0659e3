// What a device's regions are on the wire: sizes, mappable areas, who answers an access. Pure.
import { LessorError } from '../../base/errors.js';
import { hex, isAligned, powerOfTwoAtLeast } from '../../base/units.js';
import type { DeviceConfig, DeviceRegion, DoorbellSpec, FrameSpec } from '../../device/types.js';
import type { SparseArea } from '../../uapi/region-caps.js';
import {
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../../uapi/vfio.js';
import type { EndpointRegion } from '../endpoint.js';
import { planDoorbells } from './doorbell-plan.js';

const readWrite = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
const configBytes = 256;
const barBytesMin = 16;
const barBytesMax = 2 ** 31;
const romBytesMin = 2048;
const regionsMax = 32;
const msixEntryBytes = 16;

/** A region as the device described it, checked. */
export interface PlannedRegion {
  readonly index: number;
  /** Of the device; what is shown beyond reads ones and drops writes. */
  readonly lengthBytes: number;
  /** A power of two for BARs and the ROM. */
  readonly shownBytes: number;
  /** In ascending order. */
  readonly frames: readonly FrameSpec[];
  /** In ascending order. */
  readonly doorbells: readonly DoorbellSpec[];
  /** Accesses are single registers; elsewhere any offset and count is taken. */
  readonly isBar: boolean;
  /** The whole of it is frames that only the device writes: the descriptor given out says so. */
  readonly isReadOnly: boolean;
}

/** A part of a region that the server answers itself. */
export interface MsixPlace {
  readonly region: number;
  readonly tableOffset: number;
  readonly tableBytes: number;
  readonly pbaOffset: number;
  readonly pbaBytes: number;
}

export interface DevicePlan {
  readonly regions: readonly PlannedRegion[];
  /** By index, as the client sees them, configuration space included. */
  readonly shown: readonly EndpointRegion[];
  readonly msix: MsixPlace | undefined;
}

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', detail);
}

/** Frames in order, whole pages, inside the region and apart. */
function planFrames(region: DeviceRegion, pageBytes: number): FrameSpec[] {
  const frames = [...(region.frames ?? [])].sort((a, b) => a.offsetBytes - b.offsetBytes);
  let endBytes = 0;
  for (const { offsetBytes, lengthBytes } of frames) {
    const what = `the frame at ${hex(offsetBytes)} of region ${region.index}`;
    const isWhole = isAligned(offsetBytes, pageBytes) && isAligned(lengthBytes, pageBytes);
    if (!isWhole) refuse(`${what} is not made of whole pages`);
    if (lengthBytes <= 0 || offsetBytes < endBytes) refuse(`${what} is empty or overlaps`);
    endBytes = offsetBytes + lengthBytes;
    if (endBytes > region.lengthBytes) refuse(`${what} is outside the region`);
  }
  return frames;
}

function planRegion(region: DeviceRegion, pageBytes: number): PlannedRegion {
  const { index, lengthBytes } = region;
  const isBar = index <= VFIO_PCI_BAR5_REGION_INDEX;
  const isRom = index === VFIO_PCI_ROM_REGION_INDEX;
  const isDeviceSpecific = index >= VFIO_PCI_NUM_REGIONS;
  if (!Number.isInteger(index) || index < 0 || index === VFIO_PCI_CONFIG_REGION_INDEX) {
    refuse(`region ${index} is none that a device may have`);
  }
  if (isDeviceSpecific !== (region.type !== undefined)) {
    refuse(`region ${index}: a type is for device-specific regions, and each has one`);
  }
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0 || lengthBytes > barBytesMax) {
    refuse(`region ${index} of ${lengthBytes} bytes`);
  }
  const bytesMin = isRom ? romBytesMin : barBytesMin;
  const shownBytes =
    isBar || isRom ? Math.max(powerOfTwoAtLeast(lengthBytes), bytesMin) : lengthBytes;
  const frames = planFrames(region, pageBytes);
  const framedBytes = frames.reduce((sum, frame) => sum + frame.lengthBytes, 0);
  const isReadOnly = framedBytes === shownBytes && frames.every((frame) => !frame.writable);
  const doorbells = planDoorbells(region, frames);
  return { index, lengthBytes, shownBytes, frames, doorbells, isBar, isReadOnly };
}

function planMsix(config: DeviceConfig, regions: readonly PlannedRegion[]): MsixPlace | undefined {
  if (config.msix === undefined) return undefined;
  const { region: index, tableOffset, pbaOffset } = config.msix;
  const tableBytes = config.vectorCount * msixEntryBytes;
  const pbaBytes = Math.ceil(config.vectorCount / 64) * 8;
  const region = regions.find((candidate) => candidate.index === index);
  if (region === undefined || !region.isBar) refuse(`MSI-X in region ${index}, which is no BAR`);
  const ranges = [
    { start: tableOffset, end: tableOffset + tableBytes },
    { start: pbaOffset, end: pbaOffset + pbaBytes },
  ] as const;
  for (const { start, end } of ranges) {
    if (!isAligned(start, 8) || start < 0 || end > region.shownBytes) {
      refuse(`MSI-X table or PBA at ${hex(start)} is unaligned or outside region ${index}`);
    }
    for (const frame of region.frames) {
      const isApart = end <= frame.offsetBytes || start >= frame.offsetBytes + frame.lengthBytes;
      if (!isApart) refuse(`MSI-X table or PBA at ${hex(start)} is in a frame`);
    }
    for (const { offsetBytes, lengthBytes } of region.doorbells) {
      const isApart = end <= offsetBytes || start >= offsetBytes + lengthBytes;
      if (!isApart) refuse(`MSI-X table or PBA at ${hex(start)} holds a doorbell`);
    }
  }
  if (ranges[0].start < ranges[1].end && ranges[1].start < ranges[0].end) {
    refuse('MSI-X table and PBA overlap');
  }
  return { region: index, tableOffset, tableBytes, pbaOffset, pbaBytes };
}

/** Frames that touch are one area: a VM monitor makes a slot of guest memory for each. */
function areasOf(frames: readonly FrameSpec[]): SparseArea[] {
  const areas: { offsetBytes: number; lengthBytes: number }[] = [];
  for (const { offsetBytes, lengthBytes } of frames) {
    const last = areas.at(-1);
    if (last !== undefined && last.offsetBytes + last.lengthBytes === offsetBytes) {
      last.lengthBytes += lengthBytes;
    } else areas.push({ offsetBytes, lengthBytes });
  }
  return areas;
}

function shownRegion(planned: PlannedRegion, region: DeviceRegion): EndpointRegion {
  const areas = areasOf(planned.frames);
  return {
    lengthBytes: planned.shownBytes,
    flags: planned.isReadOnly ? VFIO_REGION_INFO_FLAG_READ : readWrite,
    ...(areas.length === 0 ? {} : { areas }),
    ...(region.type === undefined ? {} : { type: region.type }),
  };
}

/**
 * Checks a device's description and lays it out for the wire.
 *
 * @param pageBytes - Of the host: frames are mapped by page.
 * @throws LessorError `INVALID_ARGUMENT` for regions, frames or an MSI-X table that cannot be.
 */
export function planDevice(
  config: DeviceConfig,
  regions: readonly DeviceRegion[],
  pageBytes: number,
): DevicePlan {
  const sorted = [...regions].sort((a, b) => a.index - b.index);
  const planned = sorted.map((region) => planRegion(region, pageBytes));
  const count = Math.max(VFIO_PCI_NUM_REGIONS, ...planned.map((region) => region.index + 1));
  if (count > regionsMax) refuse(`more than ${regionsMax} regions`);
  const shown: EndpointRegion[] = Array.from({ length: count }, () => ({
    lengthBytes: 0,
    flags: 0,
  }));
  shown[VFIO_PCI_CONFIG_REGION_INDEX] = { lengthBytes: configBytes, flags: readWrite };
  planned.forEach((region, position) => {
    if (planned[position - 1]?.index === region.index) refuse(`two regions ${region.index}`);
    shown[region.index] = shownRegion(region, sorted[position] as DeviceRegion);
  });
  for (let index = VFIO_PCI_NUM_REGIONS; index < count; index++) {
    if (shown[index]?.lengthBytes === 0) refuse(`device-specific region ${index} is missing`);
  }
  return { regions: planned, shown, msix: planMsix(config, planned) };
}
