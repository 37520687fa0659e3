// The lease that another program passed to this process, by its environment and descriptors.
import { adoptFd } from './adopt-fd.js';
import { leaseFromEnvironment } from './handover.js';
import type { Lease } from './lease.js';
import { sharedOs } from './shared-os.js';

/**
 * The lease that `lessor acquire -- command` passed to this process. Call once.
 *
 * @param options - `enable: false`: the caller calls `lease.enable()` itself.
 * @throws LessorError `INVALID_ARGUMENT` when there is none.
 */
export function fromEnvironment(options: { readonly enable?: boolean } = {}): Promise<Lease> {
  return leaseFromEnvironment(sharedOs(), adoptFd, process.env, options.enable ?? true);
}
