// The error of a queue that the device stopped.
import { LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import { accessCode } from '../../device/mqdma/datasheet.js';
import { type FaultReason, faultReasons } from '../../iommu/types.js';

/** What the device recorded. */
export interface FaultRecord {
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: FaultReason;
}

/** A LessorError `DEVICE_FAULT` that carries the fault record. */
export class DeviceFault extends LessorError {
  /** Undefined: stopped for a broken doorbell, or the record was already gone. */
  readonly fault: FaultRecord | undefined;

  constructor(fault: FaultRecord | undefined, detail: string) {
    const where = fault ? `${fault.access} of ${hex(fault.iova)}: ${fault.reason}` : '';
    super('DEVICE_FAULT', [detail, where].filter((part) => part !== '').join(', '));
    this.fault = fault;
  }
}

/** A fault record from the words of a status page. */
export function faultRecord(
  access: number,
  reason: number,
  low: number,
  high: number,
): FaultRecord | undefined {
  const name = faultReasons[reason - 1];
  if (name === undefined) return undefined;
  const iova = high * 2 ** 32 + low;
  return { iova, access: access === accessCode.WRITE ? 'write' : 'read', reason: name };
}
