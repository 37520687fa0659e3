// Where the soft iommufd means to differ from the kernel: how that shows, and a sequence that shows
// it. The table itself, with the reasons, stands beside the implementation.
import type { Call } from './call.js';
import { mapFile } from './commands/map.js';
import { mockReplace, pasidAttach, pasidReplace } from './commands/mock.js';
import { attachDevice } from './commands/vfio.js';
import { viommuAlloc } from './commands/viommu.js';
import { apertureStart, device, newHwpt, newIoas, page, step } from './edges/edge.js';
import type { Step } from './lockstep.js';
import { IOMMU_VIOMMU_TYPE_SELFTEST } from './mock-uapi.js';
import type { Operation } from './operation.js';

export interface ShownDeviation {
  /** The last step is the one that differs. */
  readonly steps: readonly Operation[];
  matches(call: Call, step: Step): boolean;
}

const nestParent = 1;
const withPasid = 8;
const mockViommu = IOMMU_VIOMMU_TYPE_SELFTEST;

/** What places memory of a file for a device. */
const placing: readonly string[] = [
  'IOMMU_IOAS_MAP_FILE',
  'IOMMU_IOAS_COPY',
  'IOMMU_HWPT_ALLOC',
  'mock device',
  'mock replace',
];

/** By the rule that the table of the implementation names; all but what cannot be compared. */
export const deviations: Readonly<Record<string, ShownDeviation>> = {
  'PASIDs of a device without any': {
    steps: [
      newIoas,
      device(1, 0),
      newHwpt(3, 1, withPasid),
      step(mockReplace, { mock: { raw: 2 }, target: { raw: 5 } }),
      step(pasidAttach, { mock: { raw: 2 }, pasid: 1, target: { raw: 5 } }),
    ],
    matches: ({ name }, { one, other }) => {
      // A mock without PASIDs has PASID 0 alone: all that shows is another errno.
      if (name === 'pasid attach') return one === 'EINVAL' && other === 'EOPNOTSUPP';
      // Linux skips the hardware for a device without PASIDs, and says that all is well; only the
      // greatest of all numbers is no index of its table.
      const isSkipped = one === '0' || one === 'ENOSPC';
      return name === attachDevice.name && isSkipped && other === 'EOPNOTSUPP';
    },
  },
  'PASID 0': {
    steps: [
      newIoas,
      device(1, 4),
      newHwpt(3, 1, withPasid),
      step(pasidReplace, { mock: { raw: 2 }, pasid: 0, target: { raw: 5 } }),
    ],
    matches: ({ name, argument }, { other }) => {
      const isPasidCall = name === 'pasid attach' || name === 'pasid replace';
      const isZero = typeof argument !== 'number' && argument.slice(16, 20).every((each) => !each);
      return isPasidCall && isZero && other === 'EINVAL';
    },
  },
  MAP_FILE: {
    steps: [
      newIoas,
      device(1),
      step(mapFile, {
        ...{ flags: 7, ioas: { raw: 1 }, file: 2, start: 0n, length: page },
        iova: apertureStart,
      }),
    ],
    matches: ({ name }, { one, other }) => {
      // The kernel may have something else against it, which comes later.
      const isUnasked = one === '0' || one === 'ENOMEM';
      return placing.includes(name) && isUnasked && (other === 'EACCES' || other === 'EPERM');
    },
  },
  IOMMU_VIOMMU_ALLOC: {
    steps: [
      newIoas,
      device(1),
      newHwpt(3, 1, nestParent),
      step(viommuAlloc, { flags: 0, type: mockViommu, device: { raw: 3 }, hwpt: { raw: 5 } }),
    ],
    matches: ({ name }, { one, other }) => {
      return name === 'IOMMU_VIOMMU_ALLOC' && one === '0' && other === 'EOPNOTSUPP';
    },
  },
};

/** The rule of the deviation that a difference is. */
export function isMeant(call: Call, step: Step): string | undefined {
  for (const [rule, deviation] of Object.entries(deviations)) {
    if (deviation.matches(call, step)) return rule;
  }
  return undefined;
}
