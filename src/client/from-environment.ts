// The lease that another program passed to this process, by its environment and descriptors.
import { Fd } from '../os/fd.js';
import { loadNative } from '../os/native.js';
import { leaseFromEnvironment } from './handover.js';
import type { Lease } from './lease.js';
import { sharedOs } from './shared-os.js';

/** A descriptor of our own: what was passed would be passed on to every child. */
function adopt(number: number): Fd {
  const passed = new Fd(loadNative(), number);
  try {
    return passed.duplicate();
  } finally {
    passed.close();
  }
}

/**
 * The lease that `lessor acquire -- command` passed to this process. Call once.
 *
 * @param options - `enable: false`: the caller calls `lease.enable()` itself.
 * @throws LessorError `INVALID_ARGUMENT` when there is none.
 */
export function fromEnvironment(options: { readonly enable?: boolean } = {}): Promise<Lease> {
  return leaseFromEnvironment(sharedOs(), adopt, process.env, options.enable ?? true);
}
