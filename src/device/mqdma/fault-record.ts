// Fault records as the registers hold them.
import { type FaultReason, faultReasons } from '../../iommu/types.js';
import { accessCode } from './datasheet.js';

/** What the device recorded of a refused DMA. */
export interface FaultRecord {
  /** Exact below 2^53; the device sends nothing above 2^48. */
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: FaultReason;
}

/** A record from its registers; undefined when there is none. */
export function decodeFault(
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
