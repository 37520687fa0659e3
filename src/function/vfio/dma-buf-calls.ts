// The calls on dma-bufs of a VFIO device, each VFIO_DEVICE_FEATURE with a payload.
import type { Fd } from '../../os/fd.js';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaBuf,
  vfioRegionDmaRange,
} from '../../uapi/vfio.js';
import {
  vfioDeviceFeatureDmaBufMemattr,
  vfioDeviceFeatureDmaBufRevoke,
} from '../../uapi/vfio-dma-buf.js';
import { VFIO_DEVICE_FEATURE } from '../../uapi/vfio-requests.js';
import type { BackingSpec } from '../types.js';
import type { VfioDevice } from './types.js';

// asm-generic/fcntl.h
const O_RDONLY = 0;
const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;

const headBytes = vfioDeviceFeature.sizeBytes;

async function callFeature(
  device: VfioDevice,
  name: string,
  flags: number,
  payload: Uint8Array,
): Promise<number> {
  const argument = new Uint8Array(headBytes + payload.length);
  vfioDeviceFeature.encodeAt({ argsz: argument.length, flags }, argument, 0);
  argument.set(payload, headBytes);
  return device.call(name, VFIO_DEVICE_FEATURE, argument);
}

/**
 * Asks whether the kernel knows a feature of this device and its operation. Changes nothing.
 *
 * @throws OsError `ENOTTY` when it does not, `EINVAL` for the other operation alone
 * @see linux/vfio.h `VFIO_DEVICE_FEATURE_PROBE`
 */
export async function probeFeature(
  device: VfioDevice,
  feature: number,
  operation: 'get' | 'set',
): Promise<void> {
  const bit = operation === 'get' ? VFIO_DEVICE_FEATURE_GET : VFIO_DEVICE_FEATURE_SET;
  const flags = (feature | VFIO_DEVICE_FEATURE_PROBE | bit) >>> 0;
  await callFeature(device, `VFIO_DEVICE_FEATURE probe of ${feature}`, flags, new Uint8Array(0));
}

/**
 * A dma-buf of ranges of one region, one after the other. A read-only one cannot be mapped writable
 * nor opened again by a processor's programs; a device that imports it may write all the same.
 *
 * @returns Owned by the caller.
 * @throws OsError as the kernel says: `EINVAL` for what is no pages of the region, `ENODEV`
 * @see linux/vfio.h `struct vfio_device_feature_dma_buf`
 */
export async function exportDmaBuf(device: VfioDevice, spec: BackingSpec): Promise<Fd> {
  const { sizeBytes } = vfioDeviceFeatureDmaBuf;
  const payload = new Uint8Array(sizeBytes + spec.ranges.length * vfioRegionDmaRange.sizeBytes);
  const fixed = {
    region_index: spec.region,
    open_flags: (spec.access === 'read' ? O_RDONLY : O_RDWR) | O_CLOEXEC,
    flags: 0,
    nr_ranges: spec.ranges.length,
  };
  vfioDeviceFeatureDmaBuf.encodeAt(fixed, payload, 0);
  for (const [index, { offsetBytes, lengthBytes }] of spec.ranges.entries()) {
    const range = { offset: BigInt(offsetBytes), length: BigInt(lengthBytes) };
    vfioRegionDmaRange.encodeAt(range, payload, sizeBytes + index * vfioRegionDmaRange.sizeBytes);
  }
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
  const number = await callFeature(device, 'VFIO_DEVICE_FEATURE_DMA_BUF', flags, payload);
  return device.os.adopt(number);
}

/**
 * Takes a dma-buf back for good. When it resolves, every mapping of it faults, no importer reaches
 * the device, and nothing can be mapped or imported any more.
 *
 * @param feature - Its number in this kernel. @param descriptor - Stays open until it resolves.
 * @throws OsError `EBADFD` when it was taken back before, `ENODEV` when it is another device's or
 *   its own is closed, `EBADF`
 */
export async function revokeDmaBuf(
  device: VfioDevice,
  feature: number,
  descriptor: number,
): Promise<void> {
  const payload = vfioDeviceFeatureDmaBufRevoke.encode({ dmabuf_fd: descriptor });
  await callFeature(device, 'revoke of a dma-buf', VFIO_DEVICE_FEATURE_SET | feature, payload);
}

/**
 * How mappings that are made from now on access the device.
 *
 * @param feature - Its number in this kernel. @param attribute - `VFIO_DMA_BUF_MEMATTR_*`
 * @throws OsError `ENOENT` for an attribute that the kernel does not know, `EBADF`, `ENODEV`
 */
export async function setDmaBufMemory(
  device: VfioDevice,
  feature: number,
  descriptor: number,
  attribute: number,
): Promise<void> {
  const values = { dmabuf_fd: descriptor, memattr: attribute };
  const payload = vfioDeviceFeatureDmaBufMemattr.encode(values);
  const name = 'memory attribute of a dma-buf';
  await callFeature(device, name, VFIO_DEVICE_FEATURE_SET | feature, payload);
}
