// The error of a queue that the device stopped.
import { LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import type { FaultRecord } from '../../device/mqdma/fault-record.js';

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
