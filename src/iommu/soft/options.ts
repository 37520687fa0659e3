// IOMMU_OPTION.
import {
  IOMMU_OPTION_HUGE_PAGES,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_OPTION_RLIMIT_MODE,
} from '../../uapi/iommufd-ioas.js';
import type { OptionRequest } from '../requests.js';
import { findIoas, type SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';

const call = 'IOMMU_OPTION';

/** The value, set or got. @throws OsError */
export function applyOption(context: SoftContext, request: OptionRequest): bigint {
  switch (request.optionId) {
    case IOMMU_OPTION_RLIMIT_MODE:
      return rlimitMode(context, request);
    case IOMMU_OPTION_HUGE_PAGES:
      return hugePages(findIoas(context, request.objectId, call), request);
    default:
      throw fail('EOPNOTSUPP', call, `option ${request.optionId}`);
  }
}

/** Whether pinned pages count against the process instead of the user. */
function rlimitMode(context: SoftContext, { objectId, op, value }: OptionRequest): bigint {
  const { payment } = context;
  if (objectId !== 0) throw fail('EOPNOTSUPP', call, 'an option of the whole context');
  if (op === IOMMU_OPTION_OP_GET) return payment?.mode === 'process' ? 1n : 0n;
  if (op !== IOMMU_OPTION_OP_SET) throw fail('EOPNOTSUPP', call, `operation ${op}`);
  if (payment?.process.mayChooseMode === false) throw fail('EPERM', call, 'CAP_SYS_RESOURCE');
  if (context.objects.count > 0) throw fail('EBUSY', call, 'there are objects');
  if (value > 1n) throw fail('EINVAL', call, `value ${value}`);
  if (payment !== undefined) payment.mode = value === 1n ? 'process' : 'user';
  return value;
}

function hugePages(ioas: Ioas, { op, value }: OptionRequest): bigint {
  if (op === IOMMU_OPTION_OP_GET) return ioas.hasHugePages ? 1n : 0n;
  if (op !== IOMMU_OPTION_OP_SET) throw fail('EOPNOTSUPP', call, `operation ${op}`);
  if (value > 1n) throw fail('EINVAL', call, `value ${value}`);
  if (value === 0n) disableHugePages(ioas, call);
  else {
    ioas.hasHugePages = true;
    ioas.updateAlignment(call);
  }
  return value;
}

/** From now on every entry of a table is one page. @throws OsError `EINVAL`, `EADDRINUSE` */
export function disableHugePages(ioas: Ioas, name: string): void {
  if (!ioas.hasHugePages) return;
  if (ioas.domains.length > 0 && ioas.areas.size > 0) {
    throw fail('EINVAL', name, 'areas are in tables already');
  }
  ioas.hasHugePages = false;
  try {
    ioas.updateAlignment(name);
  } catch (error) {
    ioas.hasHugePages = true;
    throw error;
  }
}
