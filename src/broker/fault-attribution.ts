// Whose DMA was refused. Pure.
import type { DmaFault } from '../function/types.js';
import type { Access, FaultReason } from '../iommu/types.js';
import type { LeaseTerms } from './lease-terms.js';

/** What a lease has of the addresses of the function. */
export type FaultTerms = Pick<LeaseTerms, 'pasid' | 'iovaWindow' | 'isolation'>;

/**
 * The lease whose DMA it was: by the PASID, else, among those in the function's own address space,
 * by the IOVA window that contains the address. An `exclusive` lease is alone there: all is its.
 *
 * @returns undefined for none: the function itself, or a slice that strayed out of every window.
 */
export function leaseOfFault<L extends { readonly terms: FaultTerms }>(
  fault: DmaFault,
  leases: readonly L[],
): L | undefined {
  const inSpace = leases.filter(({ terms }) => terms.pasid === fault.pasid);
  if (fault.pasid !== undefined) return inSpace[0];
  const owner = inSpace.find(({ terms }) => {
    const { base, lengthBytes } = terms.iovaWindow;
    return base <= fault.iova && fault.iova < base + lengthBytes;
  });
  return owner ?? inSpace.find(({ terms }) => terms.isolation === 'exclusive');
}

/**
 * Some IOMMUs do not tell a missing permission from a missing map; the lease's maps do.
 *
 * @param mapped - What the map at the address allows; undefined: there is none.
 */
export function refinedReason(
  reason: FaultReason,
  access: 'read' | 'write',
  mapped: Access | undefined,
): FaultReason {
  const isRefused = mapped !== undefined && mapped !== 'read-write' && mapped !== access;
  return reason === 'not mapped' && isRefused ? 'no permission' : reason;
}
