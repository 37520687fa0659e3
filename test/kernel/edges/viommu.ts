// Guest-owned IOMMUs, which need hardware for them: what is refused before that is found out.
import {
  hwQueueAlloc,
  noiommuGetPa,
  vdeviceAlloc,
  veventqAlloc,
  viommuAlloc,
} from '../commands/viommu.js';
import { apertureStart, device, type Edge, newHwpt, newIoas, page, step, u64Max } from './edge.js';

const nestParent = 1;
/** Of an architecture that this is not. */
const otherType = 1;
// Ids: an IOAS, a mock, its device and its own HWPT, then what a sequence makes.
const deviceId = 3;
const hwptId = 5;

const right = { flags: 0, type: otherType, device: { raw: deviceId }, hwpt: { raw: hwptId } };
const none = { raw: 99 };

export const viommuEdges: readonly Edge[] = [
  {
    name: 'a vIOMMU that no hardware has',
    steps: [
      newIoas,
      device(1),
      newHwpt(deviceId, 1, nestParent),
      step(viommuAlloc, right),
      step(viommuAlloc, { ...right, flags: 1 }),
      step(viommuAlloc, { ...right, type: 0 }),
      step(viommuAlloc, { ...right, device: none }),
      step(viommuAlloc, { ...right, device: { raw: 1 }, hwpt: none }),
    ],
  },
  {
    name: 'what a vIOMMU would be needed for',
    steps: [
      newIoas,
      device(1),
      ...[none, { raw: 0 }, { raw: 1 }, { raw: deviceId }].flatMap((viommu) => [
        step(vdeviceAlloc, { viommu, device: { raw: deviceId }, virtualId: 1n }),
        step(veventqAlloc, { flags: 0, viommu, type: otherType, depth: 1, reserved: 0 }),
        step(hwQueueAlloc, {
          flags: 0,
          viommu,
          type: otherType,
          iova: apertureStart,
          length: page,
        }),
      ]),
      ...[
        { flags: 1 },
        { type: 0 },
        { depth: 0 },
        { depth: 2 ** 19 },
        { depth: 2 ** 19 + 1 },
        { reserved: 1 },
      ].map((wrong) => {
        const args = { flags: 0, viommu: none, type: otherType, depth: 1, reserved: 0 };
        return step(veventqAlloc, { ...args, ...wrong });
      }),
      ...[
        { flags: 1 },
        { type: 0 },
        { length: 0n },
        { iova: u64Max, length: 2n },
        { iova: u64Max, length: 1n },
        { iova: 2n, length: u64Max },
      ].map((wrong) => {
        const args = { flags: 0, viommu: none, type: otherType, iova: 0n, length: page };
        return step(hwQueueAlloc, { ...args, ...wrong });
      }),
      step(noiommuGetPa, { flags: 0, ioas: { raw: 1 }, iova: apertureStart, length: page }),
    ],
  },
];
