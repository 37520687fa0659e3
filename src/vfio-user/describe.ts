// Commands that describe the device: what it is, its regions, its interrupts.
import { assert } from '../base/errors.js';
import { encodeRegionCaps, type RegionCaps, regionCapsBytes } from '../uapi/region-caps.js';
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
} from '../uapi/vfio.js';
import { deviceInfo, irqInfo, regionInfo } from '../uapi/vfio-user.js';
import { checkArgsz, refuse } from './checks.js';
import type { CommandContext } from './context.js';
import type { EndpointRegion } from './endpoint.js';
import type { Message } from './framing.js';
import type { Reply } from './reply.js';

export function getInfo({ endpoint }: CommandContext, { payload }: Message): Reply {
  const { argsz } = deviceInfo.decode(payload);
  checkArgsz(deviceInfo.name, argsz, deviceInfo.sizeBytes);
  const reset = endpoint.reset === undefined ? 0 : VFIO_DEVICE_FLAGS_RESET;
  return {
    head: deviceInfo.encode({
      argsz: deviceInfo.sizeBytes,
      flags: VFIO_DEVICE_FLAGS_PCI | reset,
      numRegions: endpoint.regions.length,
      numIrqs: endpoint.irqs.length,
    }),
  };
}

function regionInfoReply(
  index: number,
  region: EndpointRegion,
  caps: RegionCaps,
  withCaps: boolean,
): Uint8Array {
  const fixed = regionInfo.sizeBytes;
  const capsBytes = regionCapsBytes(caps);
  const hasCaps = withCaps && capsBytes > 0;
  const head = new Uint8Array(fixed + (hasCaps ? capsBytes : 0));
  const mmap = caps.areas === undefined ? 0 : VFIO_REGION_INFO_FLAG_MMAP;
  const value = {
    argsz: fixed + capsBytes,
    flags: region.flags | mmap | (hasCaps ? VFIO_REGION_INFO_FLAG_CAPS : 0),
    index,
    capOffset: hasCaps ? fixed : 0,
    size: region.lengthBytes,
    offset: region.fdOffsetBytes ?? 0,
  };
  regionInfo.encodeAt(value, head, 0);
  if (hasCaps) encodeRegionCaps(caps, head, fixed);
  return head;
}

export function getRegionInfo({ endpoint, peer }: CommandContext, { payload }: Message): Reply {
  const { argsz, index } = regionInfo.decode(payload);
  checkArgsz(regionInfo.name, argsz, regionInfo.sizeBytes);
  const region = endpoint.regions[index];
  if (region === undefined) refuse(`${regionInfo.name}.index`, 8, `${index}`);
  const isOwn = index >= VFIO_PCI_NUM_REGIONS;
  assert(!isOwn || region.type !== undefined, `region ${index} does not say what it is`);
  const type = isOwn ? region.type : undefined;
  const isMappable = peer.maxMsgFds > 0 && (region.areas ?? []).length > 0;
  const caps = isMappable ? { areas: region.areas, type } : { type };
  const full = regionInfo.sizeBytes + regionCapsBytes(caps);
  if (argsz < full) return { head: regionInfoReply(index, region, caps, false) };
  const fd = isMappable ? endpoint.regionFd(index) : undefined;
  if (fd === undefined) return { head: regionInfoReply(index, region, { type }, true) };
  return { head: regionInfoReply(index, region, caps, true), fds: [fd] };
}

export function getIrqInfo({ endpoint }: CommandContext, { payload }: Message): Reply {
  const { argsz, index } = irqInfo.decode(payload);
  checkArgsz(irqInfo.name, argsz, irqInfo.sizeBytes);
  const irq = endpoint.irqs[index];
  if (irq === undefined) refuse(`${irqInfo.name}.index`, 8, `${index}`);
  const { flags, count } = irq;
  return { head: irqInfo.encode({ argsz: irqInfo.sizeBytes, flags, index, count }) };
}
