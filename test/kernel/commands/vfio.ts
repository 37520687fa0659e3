// A VFIO device by its character device: bind, attach, detach.
import fc from 'fast-check';
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
} from '../../../src/uapi/vfio-requests.js';
import { contextKey } from '../call.js';
import { type Command, defineCommand } from '../command.js';
import { at, dataAt } from '../memory.js';
import { at as pickFrom, type State } from '../state.js';
import { StructBytes, u32At } from '../struct-bytes.js';
import * as draw from '../values.js';

const iommufdAt = 8;
const neverOpen = 1_000_000;
const pasid = draw.rarely(1, 0, 0xf_ffff, draw.u32Max);
const file = fc.nat({ max: 1 });

function fileOf(state: State, index: number): number {
  return pickFrom(state.deviceFiles, index) ?? -1;
}

/** Whatever calls did before: one that is not there makes no call. */
function ioctlOn(key: number) {
  return { key, action: 'ioctl' as const, lengthBytes: 0 };
}

export const openDevice = defineCommand({
  name: 'open device',
  weight: 0.5,
  args: fc.constant({}),
  draft: () => ({
    request: 0,
    argument: 0,
    file: { key: contextKey, action: 'open device' as const, lengthBytes: 0 },
    text: '',
  }),
  learn: (_args, { key }, state) => {
    if (key !== undefined) state.deviceFiles.push(key);
  },
});

export const bindDevice = defineCommand({
  name: 'VFIO_DEVICE_BIND_IOMMUFD',
  weight: 1,
  args: fc.record({
    file,
    flags: draw.rarely(0, 1, 2, 3, 0x8000_0000),
    iommufd: draw.rarely<number | 'context' | 'device'>(
      'context',
      ...(['device', neverOpen, -1, 0x7fff_ffff, -0x8000_0000] as const),
    ),
    token: draw.rarely<number>(dataAt, 0, at.hole),
  }),
  draft: ({ file: index, flags, iommufd, token }, state, { memory }) => {
    const key = fileOf(state, index);
    const number = typeof iommufd === 'number' ? iommufd : 0;
    const named = iommufd === 'context' ? contextKey : key;
    return {
      request: VFIO_DEVICE_BIND_IOMMUFD,
      argument: new StructBytes(24)
        .u32(0, 24)
        .u32(4, flags)
        .u32(iommufdAt, number)
        .u64(16, token === 0 ? 0n : BigInt(memory.address(token))).bytes,
      descriptors: typeof iommufd === 'number' ? [] : [{ offset: iommufdAt, key: named }],
      file: ioctlOn(key),
      text: `file ${key}, flags ${flags}, iommufd ${iommufd}`,
    };
  },
  learn: (_args, { bytes, call }, state) => {
    if (call.file === undefined || call.file.key < 0) return;
    const device = u32At(bytes, 12);
    state.add(device, 'device');
    state.bindFile(call.file.key, device);
  },
});

export const attachDevice = defineCommand({
  name: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  weight: 2,
  args: fc.record({ file, flags: draw.rarely(0, 1, 2, 3), target: draw.choice, pasid }),
  draft: ({ file: index, flags, target, pasid: number }, state) => {
    const key = fileOf(state, index);
    const to = state.choose(target, 'ioas', 'hwpt', 'parent', 'nested');
    return {
      request: VFIO_DEVICE_ATTACH_IOMMUFD_PT,
      argument: new StructBytes(16).u32(0, 16).u32(4, flags).u32(8, to).u32(12, number).bytes,
      file: ioctlOn(key),
      text: `file ${key} to ${to} (${state.kindOf(to) ?? 'none'}), flags ${flags}, pasid ${number}`,
    };
  },
  learn: ({ flags, target }, { bytes, call }, state) => {
    const device = state.boundBy(call.file?.key ?? -1);
    if (device === undefined || flags !== 0) return;
    const to = state.choose(target, 'ioas', 'hwpt', 'parent', 'nested');
    state.attach(device, to, u32At(bytes, 8));
  },
});

export const detachDevice = defineCommand({
  name: 'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  weight: 0.6,
  args: fc.record({ file, flags: draw.rarely(0, 1, 2, 3), pasid }),
  draft: ({ file: index, flags, pasid: number }, state) => {
    const key = fileOf(state, index);
    return {
      request: VFIO_DEVICE_DETACH_IOMMUFD_PT,
      argument: new StructBytes(12).u32(0, 12).u32(4, flags).u32(8, number).bytes,
      file: ioctlOn(key),
      text: `file ${key}, flags ${flags}, pasid ${number}`,
    };
  },
  learn: ({ flags }, { call }, state) => {
    const device = state.boundBy(call.file?.key ?? -1);
    if (device !== undefined && flags === 0) state.detach(device);
  },
});

export const closeDevice = defineCommand({
  name: 'close device',
  weight: 0.2,
  args: fc.record({ file }),
  draft: ({ file: index }, state) => {
    const key = fileOf(state, index);
    return {
      request: 0,
      argument: 0,
      file: { key, action: 'close' as const, lengthBytes: 0 },
      text: `file ${key}`,
    };
  },
  learn: (_args, { call }, state) => state.closeFile(call.file?.key ?? -1),
});

/** For edges only: nothing can be done with the rest of a sequence. */
export const closeContext = defineCommand({
  name: 'close iommufd',
  weight: 0,
  args: fc.constant({}),
  draft: () => ({
    request: 0,
    argument: 0,
    file: { key: contextKey, action: 'close' as const, lengthBytes: 0 },
    text: '',
  }),
});

export const vfioCommands: readonly Command<never>[] = [
  openDevice,
  bindDevice,
  attachDevice,
  detachDevice,
  closeDevice,
] as readonly unknown[] as readonly Command<never>[];
