// What the kernel says of a device: its regions and interrupts. The device has a say in most of it,
// so it is judged like anybody else's words.
import { isOsError, LessorError, ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex } from '../../base/units.js';
import { decodeRegionCaps } from '../../uapi/region-caps.js';
import * as uapi from '../../uapi/vfio.js';
import type { VfioDevice, VfioIrq, VfioRegion } from './types.js';

/** Makes a call of the device. */
export type DeviceCall = VfioDevice['call'];

export interface DeviceInfo {
  readonly canReset: boolean;
  readonly regions: ReadonlyMap<number, VfioRegion>;
  readonly irqs: ReadonlyMap<number, VfioIrq>;
}

/** MSI-X has no room for more. */
const vectorsMax = 2048;

/** The BARs and configuration space: all that a function is made of. */
const regionIndexes = [0, 1, 2, 3, 4, 5, uapi.VFIO_PCI_CONFIG_REGION_INDEX];

/**
 * Asks for everything that a function is made of.
 *
 * @throws ProtocolError for what contradicts itself; LessorError `UNSUPPORTED` when it is no PCI
 *   function; OsError
 */
export async function readDeviceInfo(call: DeviceCall): Promise<DeviceInfo> {
  const info = await readHead(call);
  if ((info.flags & uapi.VFIO_DEVICE_FLAGS_PCI) === 0) {
    throw new LessorError(
      'UNSUPPORTED',
      `a device with flags ${hex(info.flags)} is no PCI function`,
    );
  }
  if (info.num_regions <= uapi.VFIO_PCI_CONFIG_REGION_INDEX) {
    throw new ProtocolError('vfio_device_info.num_regions', 8, `${info.num_regions} regions`);
  }
  const regions = new Map<number, VfioRegion>();
  for (const index of regionIndexes) {
    const region = await readRegion(call, index);
    if (region !== undefined) regions.set(index, region);
  }
  const irqs = new Map<number, VfioIrq>();
  for (let index = 0; index < Math.min(info.num_irqs, uapi.VFIO_PCI_NUM_IRQS); index++) {
    const irq = await readIrq(call, index);
    if (irq !== undefined) irqs.set(index, irq);
  }
  return { canReset: (info.flags & uapi.VFIO_DEVICE_FLAGS_RESET) !== 0, regions, irqs };
}

async function readHead(call: DeviceCall) {
  const codec = uapi.vfioDeviceInfo;
  const value = { flags: 0, num_regions: 0, num_irqs: 0, cap_offset: 0, pad: 0 };
  const bytes = codec.encode({ argsz: codec.sizeBytes, ...value });
  await call('VFIO_DEVICE_GET_INFO', uapi.VFIO_DEVICE_GET_INFO, bytes);
  return codec.decode(bytes);
}

async function askRegion(call: DeviceCall, index: number, argsz: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(argsz);
  const value = { argsz, flags: 0, index, cap_offset: 0, size: 0n, offset: 0n };
  uapi.vfioRegionInfo.encodeAt(value, bytes, 0);
  await call('VFIO_DEVICE_GET_REGION_INFO', uapi.VFIO_DEVICE_GET_REGION_INFO, bytes);
  return bytes;
}

async function readRegion(call: DeviceCall, index: number): Promise<VfioRegion | undefined> {
  const headBytes = uapi.vfioRegionInfo.sizeBytes;
  const head = await askRegion(call, index, headBytes);
  const { argsz } = uapi.vfioRegionInfo.decodeAt(head, 0);
  if (argsz > limits.vfioRegionInfoBytesMax) {
    throw new ProtocolError('vfio_region_info.argsz', 0, `${argsz} bytes of region ${index}`);
  }
  return judgeRegion(argsz > headBytes ? await askRegion(call, index, argsz) : head);
}

function exact(value: bigint, field: string, at: number): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ProtocolError(`vfio_region_info.${field}`, at, hex(value));
  }
  return Number(value);
}

/**
 * Reads what the kernel answered about a region. Pure.
 *
 * @returns undefined for a region that is not there.
 * @throws ProtocolError
 */
export function judgeRegion(bytes: Uint8Array): VfioRegion | undefined {
  const info = uapi.vfioRegionInfo.decodeAt(bytes, 0);
  const lengthBytes = exact(info.size, 'size', uapi.vfioRegionInfo.offsets.size!);
  if (lengthBytes === 0) return undefined;
  const fileOffsetBytes = exact(info.offset, 'offset', uapi.vfioRegionInfo.offsets.offset!);
  exact(info.offset + info.size, 'size', uapi.vfioRegionInfo.offsets.size!);
  const has = (flag: number): boolean => (info.flags & flag) !== 0;
  const capOffset = has(uapi.VFIO_REGION_INFO_FLAG_CAPS) ? info.cap_offset : 0;
  const { areas } = decodeRegionCaps(bytes, capOffset, lengthBytes);
  const whole = [{ offsetBytes: 0, lengthBytes }];
  return {
    index: info.index,
    fileOffsetBytes,
    lengthBytes,
    isReadable: has(uapi.VFIO_REGION_INFO_FLAG_READ),
    isWritable: has(uapi.VFIO_REGION_INFO_FLAG_WRITE),
    mappable: has(uapi.VFIO_REGION_INFO_FLAG_MMAP) ? (areas ?? whole) : [],
  };
}

async function readIrq(call: DeviceCall, index: number): Promise<VfioIrq | undefined> {
  const codec = uapi.vfioIrqInfo;
  const bytes = codec.encode({ argsz: codec.sizeBytes, flags: 0, index, count: 0 });
  try {
    await call('VFIO_DEVICE_GET_IRQ_INFO', uapi.VFIO_DEVICE_GET_IRQ_INFO, bytes);
  } catch (error) {
    // Older kernels have no error interrupt for what is no PCI Express device.
    if (isOsError(error, 'EINVAL')) return undefined;
    throw error;
  }
  const { count, flags } = codec.decode(bytes);
  if (count > vectorsMax) {
    throw new ProtocolError('vfio_irq_info.count', codec.offsets.count!, `${count} of ${index}`);
  }
  return { index, count, flags };
}
