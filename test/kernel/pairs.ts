// Which errnos each command can give, by the rules of iommufd, and which of them nothing provokes
// here. A run of full length reaches all the others.
import type { Errno } from '../../src/base/errno.js';

interface Listed {
  readonly reached: readonly Errno[];
  /** Listed, and why the virtual machine does not give it. */
  readonly unreached?: Readonly<Partial<Record<Errno, string>>>;
}

/** Of every structure that comes in, whatever the command: D2, D4. */
const entry: readonly Errno[] = ['EFAULT', 'ENOTTY', 'EINVAL', 'E2BIG'];

const noKernelMemory = 'only when the kernel is out of memory';
const noViommu = 'needs a vIOMMU, and the hardware that the software emulates has none';
const noNoiommu = 'the kernel under test is built without devices that have no IOMMU';
const noSecondThread = 'needs a second thread in the middle of a call';

function iommufd(...errnos: readonly Errno[]): readonly Errno[] {
  return [...new Set([...entry, ...errnos])];
}

export const listedErrnos: Readonly<Record<string, Listed>> = {
  IOMMU_DESTROY: { reached: iommufd('ENOENT', 'EBUSY') },
  IOMMU_IOAS_ALLOC: { reached: iommufd('EOPNOTSUPP'), unreached: { ENOMEM: noKernelMemory } },
  IOMMU_IOAS_IOVA_RANGES: { reached: iommufd('EOPNOTSUPP', 'ENOENT', 'EMSGSIZE') },
  IOMMU_IOAS_ALLOW_IOVAS: {
    reached: iommufd('EOPNOTSUPP', 'ENOENT', 'EADDRINUSE'),
    unreached: { ENOMEM: noKernelMemory },
  },
  IOMMU_IOAS_MAP: {
    reached: iommufd('EOPNOTSUPP', 'EOVERFLOW', 'ENOENT', 'EEXIST', 'ENOSPC', 'ENOMEM'),
  },
  IOMMU_IOAS_MAP_FILE: {
    reached: iommufd('EOPNOTSUPP', 'EOVERFLOW', 'ENOENT', 'EBADF', 'EEXIST', 'ENOSPC', 'ENOMEM'),
    unreached: { ENODEV: 'a revoked dma-buf is a window of the broker, not a descriptor' },
  },
  IOMMU_IOAS_COPY: {
    reached: iommufd('EOPNOTSUPP', 'EOVERFLOW', 'ENOENT', 'EEXIST', 'ENOSPC', 'EPERM', 'ENOMEM'),
  },
  IOMMU_IOAS_UNMAP: {
    reached: iommufd('ENOENT', 'EOVERFLOW'),
    unreached: { EBUSY: noSecondThread, EDEADLK: 'needs a user that does not let go in 100 tries' },
  },
  IOMMU_OPTION: { reached: iommufd('EOPNOTSUPP', 'ENOENT', 'EPERM', 'EBUSY', 'EADDRINUSE') },
  IOMMU_IOAS_CHANGE_PROCESS: {
    reached: iommufd('EOPNOTSUPP'),
    unreached: { EBUSY: noSecondThread, ENOMEM: 'needs a second process with a lower limit' },
  },
  IOMMU_VFIO_IOAS: { reached: iommufd('EOPNOTSUPP', 'ENODEV', 'ENOENT') },
  IOMMU_HWPT_ALLOC: { reached: iommufd('EOPNOTSUPP', 'ENOENT', 'ENOMEM', 'EADDRINUSE') },
  IOMMU_GET_HW_INFO: { reached: iommufd('EOPNOTSUPP', 'ENOENT') },
  IOMMU_HWPT_INVALIDATE: { reached: iommufd('EOPNOTSUPP', 'ENOENT') },
  IOMMU_HWPT_SET_DIRTY_TRACKING: { reached: iommufd('EOPNOTSUPP', 'ENOENT') },
  IOMMU_HWPT_GET_DIRTY_BITMAP: { reached: iommufd('EOPNOTSUPP', 'ENOENT', 'EOVERFLOW') },
  IOMMU_FAULT_QUEUE_ALLOC: { reached: iommufd('EOPNOTSUPP') },
  IOMMU_VIOMMU_ALLOC: { reached: iommufd('EOPNOTSUPP', 'ENOENT') },
  IOMMU_VDEVICE_ALLOC: { reached: iommufd('ENOENT'), unreached: { EEXIST: noViommu } },
  IOMMU_VEVENTQ_ALLOC: {
    reached: iommufd('EOPNOTSUPP', 'ENOENT'),
    unreached: { EEXIST: noViommu },
  },
  IOMMU_HW_QUEUE_ALLOC: { reached: iommufd('EOPNOTSUPP', 'EOVERFLOW', 'ENOENT') },
  IOMMU_IOAS_NOIOMMU_GET_PA: {
    reached: iommufd('EOPNOTSUPP'),
    unreached: { EPERM: noNoiommu, EOVERFLOW: noNoiommu, ENOENT: noNoiommu },
  },
  'vIOMMU event queue read': { reached: [], unreached: { ESPIPE: noViommu, EINVAL: noViommu } },
  'fault queue read': {
    reached: ['ESPIPE'],
    unreached: {
      EINVAL: 'the mock sends groups of one request, and Node makes no read of no bytes',
    },
  },
  'fault queue write': { reached: ['ESPIPE', 'EINVAL'] },
  'mock device': { reached: ['ENOENT', 'EINVAL', 'EADDRINUSE', 'EFAULT', 'ENOMEM'] },
  'mock replace': { reached: ['ENOENT', 'EINVAL', 'EADDRINUSE', 'EFAULT', 'ENOMEM'] },
  'pasid attach': { reached: ['ENOENT', 'EINVAL', 'EBUSY'] },
  'pasid replace': { reached: ['ENOENT', 'EINVAL'] },
  'add reserved': { reached: ['ENOENT', 'EINVAL', 'EADDRINUSE', 'EOVERFLOW'] },
  VFIO_CHECK_EXTENSION: { reached: ['ENODEV'] },
  VFIO_SET_IOMMU: { reached: ['EINVAL', 'ENODEV'] },
  VFIO_IOMMU_MAP_DMA: {
    reached: ['EFAULT', 'EINVAL', 'ENODEV', 'EEXIST', 'EOVERFLOW', 'ENOMEM'],
  },
  VFIO_IOMMU_UNMAP_DMA: {
    reached: ['EFAULT', 'EINVAL', 'ENODEV', 'ENOENT', 'EOVERFLOW'],
    unreached: { EBUSY: noSecondThread, EOPNOTSUPP: 'needs a mapped dma-buf' },
  },
  VFIO_IOMMU_GET_INFO: { reached: ['EFAULT', 'EINVAL', 'ENODEV'] },
  VFIO_DEVICE_BIND_IOMMUFD: {
    reached: ['EFAULT', 'EINVAL', 'E2BIG', 'EBADF', 'EBADFD'],
    unreached: {
      EPERM: 'needs a group of two devices',
      EBUSY: 'needs a legacy group of VFIO',
      EACCES: 'needs a function that shares a token with others',
    },
  },
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: {
    reached: ['EFAULT', 'EINVAL', 'ENOTTY', 'ENOENT', 'EADDRINUSE', 'ENOMEM'],
    unreached: { EBUSY: 'needs a reset of the function under way' },
  },
  VFIO_DEVICE_DETACH_IOMMUFD_PT: { reached: ['EFAULT', 'EINVAL', 'ENOTTY'] },
  'unknown number': { reached: ['ENOTTY'] },
};

/** `command errno` of every pair that a run of full length reaches. */
export function reachablePairs(): string[] {
  return Object.entries(listedErrnos).flatMap(([command, { reached }]) => {
    return reached.map((errno) => `${command} ${errno}`);
  });
}

/** Every pair that nothing provokes here, with the reason. */
export function unreachablePairs(): { readonly pair: string; readonly reason: string }[] {
  return Object.entries(listedErrnos).flatMap(([command, { unreached = {} }]) => {
    return Object.entries(unreached).map(([errno, reason]) => ({
      pair: `${command} ${errno}`,
      reason,
    }));
  });
}
