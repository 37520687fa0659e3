// Refused DMA, reported by the worker to main through a ring in the control block. The worker
// never waits: what finds the ring full is counted.
import { faultReasons } from '../../iommu/types.js';
import type { DmaFault } from '../types.js';
import { type ControlBlock, faultRecordCount, word } from './control-block.js';

/** Worker's side. @returns False when the ring was full. */
export function pushFault(control: ControlBlock, fault: DmaFault): boolean {
  const { words } = control;
  const head = Atomics.load(words, word.faultHead);
  if (((head - Atomics.load(words, word.faultTail)) | 0) >= faultRecordCount) {
    Atomics.add(words, word.faultsDropped, 1);
    return false;
  }
  const start = control.faultRecord(head);
  words[start] = fault.pasid === undefined ? 0 : 1;
  words[start + 1] = fault.pasid ?? 0;
  words[start + 2] = fault.iova | 0;
  words[start + 3] = Math.floor(fault.iova / 2 ** 32) | 0;
  words[start + 4] = fault.access === 'write' ? 1 : 0;
  words[start + 5] = faultReasons.indexOf(fault.reason);
  Atomics.store(words, word.faultHead, (head + 1) | 0);
  return true;
}

/** Main's side: the oldest report not taken yet. */
export function takeFault(control: ControlBlock): DmaFault | undefined {
  const { words } = control;
  const tail = Atomics.load(words, word.faultTail);
  if (tail === Atomics.load(words, word.faultHead)) return undefined;
  const start = control.faultRecord(tail);
  const low = words[start + 2]! >>> 0;
  const high = words[start + 3]! >>> 0;
  const fault: DmaFault = {
    pasid: words[start] === 1 ? words[start + 1]! >>> 0 : undefined,
    iova: high * 2 ** 32 + low,
    access: words[start + 4] === 1 ? 'write' : 'read',
    reason: faultReasons[words[start + 5]!] ?? 'not reachable',
  };
  Atomics.store(words, word.faultTail, (tail + 1) | 0);
  return fault;
}

/** Main's side: how many reports were dropped since the last call. */
export function takeDroppedCount(control: ControlBlock): number {
  return Atomics.exchange(control.words, word.faultsDropped, 0);
}
