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

/** The others need a vIOMMU, and there is none. */
function needsViommu(name: string, request: number, lengthBytes: number, idAt: number) {
  return defineCommand({
    name,
    weight: 0.2,
    args: fc.record({ second: draw.rarely(0, 1), id: draw.choice, third: draw.among(0, 1, 4096) }),
    draft: ({ second, id, third }, state) => {
      const object = state.choose(id, 'hwpt', 'parent', 'device');
      const struct = new StructBytes(lengthBytes).u32(0, lengthBytes);
      if (idAt !== 4) struct.u32(4, second);
      for (let at = 12; at < lengthBytes - 8; at += 4) struct.u32(at, third);
      return {
        request,
        argument: struct.u32(idAt, object).bytes,
        text: `flags ${second}, object ${object}, all else ${third}`,
      };
    },
  });
}

export const viommuCommands: readonly Command<never>[] = [
  viommuAlloc,
  needsViommu('IOMMU_VDEVICE_ALLOC', 0x3b91, 24, 4),
  needsViommu('IOMMU_VEVENTQ_ALLOC', 0x3b93, 32, 8),
  needsViommu('IOMMU_HW_QUEUE_ALLOC', 0x3b94, 40, 8),
  needsViommu('IOMMU_IOAS_NOIOMMU_GET_PA', 0x3b95, 40, 8),
] as readonly unknown[] as readonly Command<never>[];
