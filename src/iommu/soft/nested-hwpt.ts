// A nested HWPT: a guest's own tables in front of a nest parent. Its life and its rules are here;
// what the tables say only the hardware knows, so that in software no DMA passes through one.
import type { OsError } from '../../base/errors.js';
import type { HwptInvalidateRequest, HwptInvalidateResult } from '../requests.js';
import type { SoftContext } from './context.js';
import type { FaultObject } from './fault-object.js';
import type { Hwpt } from './hwpt.js';
import type { NestedTable, TableFormat } from './traits.js';

const entryBytesMax = 4096;
const entriesMax = 2 ** 19;

export class NestedHwpt {
  readonly kind = 'nested';
  id = 0;
  readonly parent: Hwpt;
  readonly isPasid: boolean;
  readonly table: NestedTable;
  /** Where page requests go. */
  fault: FaultObject | undefined = undefined;
  /** Devices by slot. */
  useCount = 0;

  constructor(parent: Hwpt, isPasid: boolean, table: NestedTable) {
    this.parent = parent;
    this.isPasid = isPasid;
    this.table = table;
    parent.useCount += 1;
  }

  get paging(): Hwpt {
    return this.parent;
  }

  get format(): TableFormat {
    return this.parent.format;
  }

  /** Nothing: DMA is blocked. */
  get root(): number {
    return 0;
  }

  destroy(): void {
    this.fault?.removeUser();
    this.parent.useCount -= 1;
  }
}

/** IOMMU_HWPT_INVALIDATE. */
export function invalidateHwpt(
  context: SoftContext,
  request: HwptInvalidateRequest,
): HwptInvalidateResult {
  const { dataType, entryLen, entryNum, data } = request;
  if (entryNum > 0) {
    const hasBytes = data !== undefined && entryLen > 0;
    if (!hasBytes || entryLen > entryBytesMax || entryNum > entriesMax) return refused('EINVAL');
  }
  const hwpt = context.objects.get(request.hwptId);
  if (hwpt === undefined) return refused('ENOENT');
  if (hwpt.kind !== 'nested') return refused('EINVAL');
  const { table } = hwpt;
  if (table.invalidate === undefined) return refused('EOPNOTSUPP');
  return table.invalidate({ dataType, entryLen, entryNum, entries: data ?? new Uint8Array() });
}

function refused(errno: OsError['errno']): HwptInvalidateResult {
  return { handledCount: 0, errno };
}
