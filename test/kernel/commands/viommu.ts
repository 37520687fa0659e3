// The family of guest-owned IOMMUs, which nothing here supports: its refusals come in order, too.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { StructBytes } from '../struct-bytes.js';
import * as draw from '../values.js';

const flags = draw.rarely(0, 1);
/** Not the mock's own type, which the kernel's mock supports. */
const type = draw.weighted([4, draw.among(1, 2)], [1, fc.constant(0)]);

export const viommuAlloc = defineCommand({
  name: 'IOMMU_VIOMMU_ALLOC',
  weight: 0.4,
  args: fc.record({ flags, type, device: draw.choice, hwpt: draw.choice }),
  draft: (args, state) => {
    const device = state.choose(args.device, 'device');
    const hwpt = state.choose(args.hwpt, 'parent', 'hwpt');
    return {
      request: 0x3b90,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, args.flags)
        .u32(8, args.type)
        .u32(12, device)
        .u32(16, hwpt).bytes,
      text: `flags ${args.flags}, type ${args.type}, device ${device}, hwpt ${hwpt}`,
    };
  },
});

const viommu = draw.choice;

export const vdeviceAlloc = defineCommand({
  name: 'IOMMU_VDEVICE_ALLOC',
  weight: 0.2,
  args: fc.record({ viommu, device: draw.choice, virtualId: draw.among(0n, 1n, draw.u64Max) }),
  draft: (args, state) => {
    const id = state.choose(args.viommu, 'hwpt', 'parent', 'device');
    const device = state.choose(args.device, 'device');
    return {
      request: 0x3b91,
      argument: new StructBytes(24).u32(0, 24).u32(4, id).u32(8, device).u64(16, args.virtualId)
        .bytes,
      text: `viommu ${id}, device ${device}, id ${args.virtualId}`,
    };
  },
});

export const veventqAlloc = defineCommand({
  name: 'IOMMU_VEVENTQ_ALLOC',
  weight: 0.2,
  args: fc.record({
    flags,
    viommu,
    type,
    depth: draw.rarely(1, 0, 2 ** 19, 2 ** 19 + 1, draw.u32Max),
    reserved: draw.reserved,
  }),
  draft: (args, state) => {
    const id = state.choose(args.viommu, 'hwpt', 'parent', 'device');
    return {
      request: 0x3b93,
      argument: new StructBytes(32)
        .u32(0, 32)
        .u32(4, args.flags)
        .u32(8, id)
        .u32(12, args.type)
        .u32(16, args.depth)
        .u32(28, args.reserved).bytes,
      text: `flags ${args.flags}, viommu ${id}, type ${args.type}, depth ${args.depth}, reserved ${args.reserved}`,
    };
  },
});

export const hwQueueAlloc = defineCommand({
  name: 'IOMMU_HW_QUEUE_ALLOC',
  weight: 0.2,
  args: fc.record({ flags, viommu, type, iova: draw.iova, length: draw.lengthBytes }),
  draft: (args, state) => {
    const id = state.choose(args.viommu, 'hwpt', 'parent', 'device');
    return {
      request: 0x3b94,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, args.flags)
        .u32(8, id)
        .u32(12, args.type)
        .u64(24, args.iova)
        .u64(32, args.length).bytes,
      text: `flags ${args.flags}, viommu ${id}, type ${args.type}, ${args.length} bytes at ${args.iova}`,
    };
  },
});

export const noiommuGetPa = defineCommand({
  name: 'IOMMU_IOAS_NOIOMMU_GET_PA',
  weight: 0.2,
  args: fc.record({ flags, ioas: draw.choice, iova: draw.iova, length: draw.lengthBytes }),
  draft: (args, state) => {
    const id = state.choose(args.ioas, 'ioas');
    return {
      request: 0x3b95,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, args.flags)
        .u32(8, id)
        .u64(16, args.iova)
        .u64(24, args.length).bytes,
      text: `flags ${args.flags}, ioas ${id}, ${args.length} bytes at ${args.iova}`,
    };
  },
});

export const viommuCommands: readonly Command<never>[] = [
  viommuAlloc,
  vdeviceAlloc,
  veventqAlloc,
  hwQueueAlloc,
  noiommuGetPa,
] as readonly unknown[] as readonly Command<never>[];
