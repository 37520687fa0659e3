// What was decided about one lease when it was granted; fixed for its life.
import type { Slice } from '../driver/types.js';
import type { IovaRange } from '../lease/iova-windows.js';
import type { LeaseTerms as PolicyTerms } from '../policy/types.js';
import type { LeaseLayout } from './layout.js';

/** The verdict's terms, and what the broker picked to fulfil them. */
export interface LeaseTerms extends PolicyTerms {
  readonly id: string;
  readonly slice: Slice;
  readonly layout: LeaseLayout;
  readonly uid: number;
  readonly pid: number | undefined;
  /** Windows are handed out as descriptors; false: registers by message alone. */
  readonly mapped: boolean;
  readonly epoch: number;
  /** The device's address space; undefined for the shared one. */
  readonly pasid: number | undefined;
  readonly iovaWindow: IovaRange;
  /** The device checks the IOVA window as the bounds of the slice. */
  readonly bounded: boolean;
  /** Vectors of the function, as many as were leased. */
  readonly vectorList: readonly number[];
  readonly createdMs: number;
}
