// The operating system as the functions of this package use it: made once, when first needed.
import { createOs } from '../os/index.js';
import type { Os } from '../os/os-types.js';

let shared: Os | undefined;

export function sharedOs(): Os {
  const known = shared ?? createOs();
  shared = known;
  return known;
}
