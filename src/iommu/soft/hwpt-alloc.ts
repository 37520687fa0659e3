// IOMMU_HWPT_ALLOC. @see linux drivers/iommu/iommufd/hw_pagetable.c iommufd_hwpt_alloc
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_DATA_NONE,
  IOMMU_HWPT_FAULT_ID_VALID,
} from '../../uapi/iommufd.js';
import type { HwptAllocRequest } from '../requests.js';
import type { SoftContext } from './context.js';
import type { FaultObject } from './fault-object.js';
import { type AnyHwpt, Hwpt } from './hwpt.js';
import type { Ioas } from './ioas.js';
import { NestedHwpt } from './nested-hwpt.js';
import { fail } from './objects.js';
import type { TypedData, UnitTraits } from './traits.js';

const call = 'IOMMU_HWPT_ALLOC';
const nestedFlags = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;
const pagingFlags = nestedFlags | IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING;

/** Checks in the order that decides the errno; all or nothing. Returns the id. */
export function allocateHwpt(context: SoftContext, request: HwptAllocRequest): number {
  const { flags, dataType = IOMMU_HWPT_DATA_NONE, devId, ptId } = request;
  const bytes = request.data ?? new Uint8Array();
  if ((dataType === IOMMU_HWPT_DATA_NONE) !== (bytes.length === 0)) {
    throw fail('EINVAL', call, 'data without a type, or a type without data');
  }
  const data = bytes.length === 0 ? undefined : { dataType, bytes };
  const { objects } = context;
  const device = objects.get(devId);
  if (device?.kind !== 'device') throw fail('ENOENT', call, `device ${devId}`);
  const parent = objects.get(ptId);
  if (parent?.kind !== 'ioas' && parent?.kind !== 'hwpt') {
    throw fail('EINVAL', call, `object ${ptId}`);
  }
  const { traits } = device.unit;
  const hwpt =
    parent.kind === 'ioas'
      ? createPaging(context, parent, traits, flags, data)
      : createNested(parent, traits, flags, data);
  if ((flags & IOMMU_HWPT_FAULT_ID_VALID) !== 0) {
    const fault = objects.get(request.faultId ?? 0);
    if (fault?.kind !== 'fault') {
      hwpt.destroy();
      throw fail('ENOENT', call, `fault ${request.faultId}`);
    }
    useFault(hwpt, fault);
  }
  hwpt.id = objects.add(hwpt);
  return hwpt.id;
}

function createPaging(
  context: SoftContext,
  ioas: Ioas,
  traits: UnitTraits,
  flags: number,
  data: TypedData | undefined,
): Hwpt {
  if ((flags & ~pagingFlags) !== 0) throw fail('EOPNOTSUPP', call, `flags ${flags}`);
  const hasDirtyTracking = (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) !== 0;
  const isNestParent = (flags & IOMMU_HWPT_ALLOC_NEST_PARENT) !== 0;
  if (hasDirtyTracking && !traits.hasDirtyTracking) {
    throw fail('EOPNOTSUPP', call, 'the device has no dirty tracking');
  }
  if (isNestParent && (flags & IOMMU_HWPT_FAULT_ID_VALID) !== 0) {
    throw fail('EOPNOTSUPP', call, 'a nest parent takes no page requests');
  }
  if ((flags & ~(traits.hwptFlags | IOMMU_HWPT_FAULT_ID_VALID)) !== 0) {
    throw fail('EOPNOTSUPP', call, `flags ${flags} for this IOMMU`);
  }
  if (data !== undefined && traits.formatOf === undefined) {
    throw fail('EOPNOTSUPP', call, 'the IOMMU takes no data');
  }
  const format = data === undefined ? traits.format : traits.formatOf!(data);
  const isPasid = (flags & IOMMU_HWPT_ALLOC_PASID) !== 0;
  const options = { format: { ...format, hasDirtyTracking }, isPasid, isAuto: false, isNestParent };
  const hwpt = new Hwpt(context, ioas, options, call);
  try {
    hwpt.join(call);
  } catch (error) {
    hwpt.destroy();
    throw error;
  }
  return hwpt;
}

function createNested(
  parent: Hwpt,
  traits: UnitTraits,
  flags: number,
  data: TypedData | undefined,
): NestedHwpt {
  const { nest } = traits;
  if ((flags & ~nestedFlags) !== 0 || data === undefined || nest === undefined) {
    throw fail('EOPNOTSUPP', call, 'nesting');
  }
  if (parent.isAuto || !parent.isNestParent || parent.format.driver !== traits.driver) {
    throw fail('EINVAL', call, 'no parent for nesting');
  }
  const table = nest(data, flags & ~IOMMU_HWPT_FAULT_ID_VALID);
  return new NestedHwpt(parent, (flags & IOMMU_HWPT_ALLOC_PASID) !== 0, table);
}

function useFault(hwpt: AnyHwpt, fault: FaultObject): void {
  hwpt.fault = fault;
  fault.addUser();
}
