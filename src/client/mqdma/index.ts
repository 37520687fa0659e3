// lessor/mqdma: the user-side queue of an mqdma lease.
export { completionStatus, mqdma } from '../../device/mqdma/datasheet.js';
export type { FaultRecord } from '../../device/mqdma/fault-record.js';
export { DeviceFault } from './device-fault.js';
export type { CompareOperands, CopyOperands, Crc32cOperands, FillOperands } from './operands.js';
export { Queue, type QueueOptions } from './queue.js';
export type {
  LeaseInterrupt,
  LeaseMemory,
  LeaseRegisters,
  LeaseWindow,
  MappedLeaseWindow,
  MessageLeaseWindow,
  QueueLease,
} from './queue-lease.js';
