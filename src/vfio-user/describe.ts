// Commands that describe the device: what it is, its regions, its interrupts.
import { encodeSparseCap, type SparseArea, sparseCapBytes } from '../uapi/region-caps.js';
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
} from '../uapi/vfio.js';
import { deviceInfo, irqInfo, regionInfo, regionIoFds } from '../uapi/vfio-user.js';
import { checkArgsz, refuse } from './checks.js';
import type { CommandContext } from './context.js';
import type { EndpointRegion } from './endpoint.js';
import type { Message } from './framing.js';
import type { Reply } from './reply.js';

const ioFdsBytesMax = 1_048_576;

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
  areas: readonly SparseArea[],
  withCaps: boolean,
): Uint8Array {
  const fixed = regionInfo.sizeBytes;
  const full = fixed + (areas.length === 0 ? 0 : sparseCapBytes(areas.length));
  const head = new Uint8Array(withCaps ? full : fixed);
  const mmap = areas.length === 0 ? 0 : VFIO_REGION_INFO_FLAG_MMAP;
  const value = {
    argsz: full,
    flags: region.flags | mmap | (withCaps ? VFIO_REGION_INFO_FLAG_CAPS : 0),
    index,
    capOffset: withCaps ? fixed : 0,
    size: region.lengthBytes,
    offset: region.fdOffsetBytes ?? 0,
  };
  regionInfo.encodeAt(value, head, 0);
  if (withCaps) encodeSparseCap(areas, head, fixed);
  return head;
}

export function getRegionInfo({ endpoint, peer }: CommandContext, { payload }: Message): Reply {
  const { argsz, index } = regionInfo.decode(payload);
  checkArgsz(regionInfo.name, argsz, regionInfo.sizeBytes);
  const region = endpoint.regions[index];
  if (region === undefined) refuse(`${regionInfo.name}.index`, 8, `${index}`);
  const areas = peer.maxMsgFds > 0 ? (region.areas ?? []) : [];
  if (areas.length === 0) return { head: regionInfoReply(index, region, [], false) };
  const full = regionInfo.sizeBytes + sparseCapBytes(areas.length);
  if (argsz < full) return { head: regionInfoReply(index, region, areas, false) };
  const fd = endpoint.regionFd(index);
  if (fd === undefined) return { head: regionInfoReply(index, region, [], false) };
  return { head: regionInfoReply(index, region, areas, true), fds: [fd] };
}

/** No doorbell descriptors are on offer: always the empty list. */
export function getRegionIoFds({ endpoint }: CommandContext, { payload }: Message): Reply {
  const { argsz, flags, index, count } = regionIoFds.decode(payload);
  const { name, sizeBytes, offsets } = regionIoFds;
  checkArgsz(name, argsz, sizeBytes);
  if (argsz > ioFdsBytesMax) refuse(`${name}.argsz`, 0, `${argsz}`);
  if (flags !== 0) refuse(`${name}.flags`, offsets.flags ?? 0, `${flags}`);
  if (count !== 0) refuse(`${name}.count`, offsets.count ?? 0, `${count}`);
  const region = endpoint.regions[index];
  if (region === undefined || region.flags === 0) refuse(`${name}.index`, 8, `${index}`);
  return { head: regionIoFds.encode({ argsz: sizeBytes, flags: 0, index, count: 0 }) };
}

export function getIrqInfo({ endpoint }: CommandContext, { payload }: Message): Reply {
  const { argsz, index } = irqInfo.decode(payload);
  checkArgsz(irqInfo.name, argsz, irqInfo.sizeBytes);
  const irq = endpoint.irqs[index];
  if (irq === undefined) refuse(`${irqInfo.name}.index`, 8, `${index}`);
  const { flags, count } = irq;
  return { head: irqInfo.encode({ argsz: irqInfo.sizeBytes, flags, index, count }) };
}
