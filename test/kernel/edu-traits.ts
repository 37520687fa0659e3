// What the IOMMU in front of the EDU device can do, as the kernel says.
import { OsError } from '../../src/base/errors.js';
import { KernelIommufd } from '../../src/iommu/kernel/kernel-iommufd.js';
import type { IovaRange } from '../../src/iommu/requests.js';
import { createTraits, type UnitTraits } from '../../src/iommu/soft/traits.js';
import type { Os } from '../../src/os/index.js';
import {
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_VFIO_IOAS_SET,
} from '../../src/uapi/iommufd.js';

const O_RDWR = 2;
const everything = 4096;
/** In `CHECK_EXTENSION`: no access of the device goes past the caches of the CPUs. */
const VFIO_DMA_CC_IOMMU = 4;

/** Binds it for this in a context of its own. @param path - Of the character device. */
export function readEduTraits(os: Os, path: string): UnitTraits {
  using iommufd = KernelIommufd.open(os.ioctl);
  using device = iommufd.bindDevice(os.ioctl.open(path, O_RDWR));
  const ioasId = iommufd.ioasAlloc();
  device.attach(ioasId);
  const { ranges } = iommufd.ioasIovaRanges(ioasId, everything);
  const { dataType, data, maxPasidLog2, capabilities } = iommufd.hwInfo({
    flags: 0,
    devId: device.id,
    dataType: 0,
    dataLenMax: everything,
  });
  iommufd.vfioIoas({ op: IOMMU_VFIO_IOAS_SET, ioasId });
  const enforcesCoherency = iommufd.checkExtension(VFIO_DMA_CC_IOMMU) === 1;
  const { pageSizes } = iommufd.containerInfo();
  const dirtyBit = BigInt(IOMMU_HW_CAP_DIRTY_TRACKING);
  const traits = createTraits({
    driver: 'intel-iommu',
    aperture: { start: ranges[0]!.start, last: ranges.at(-1)!.last },
    reserved: holesBetween(ranges).map((hole) => ({ ...hole, kind: 'msi' as const })),
    pasidBits: maxPasidLog2,
    hasDirtyTracking: (capabilities & dirtyBit) !== 0n,
    capabilities: capabilities & ~dirtyBit,
    hwInfo: { dataType, data },
    // Its driver makes such tables also for devices without PASIDs.
    hwptFlags: IOMMU_HWPT_ALLOC_PASID,
    nest: () => {
      throw new OsError('EOPNOTSUPP', 'IOMMU_HWPT_ALLOC', 'no scalable mode');
    },
  });
  return { ...traits, format: { ...traits.format, leafSizes: pageSizes, enforcesCoherency } };
}

function holesBetween(ranges: readonly IovaRange[]): IovaRange[] {
  return ranges.slice(1).map(({ start }, index) => {
    return { start: ranges[index]!.last + 1n, last: start - 1n };
  });
}
