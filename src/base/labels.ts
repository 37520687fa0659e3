// The two labels that every lease shows, and their order of strength.

/** Who enforces that the device reaches only this lease's memory. */
export const isolations = ['cooperative', 'server', 'device-bounds', 'exclusive', 'pasid'] as const;
export type Isolation = (typeof isolations)[number];

/** How register access ends. */
export const revocations = ['process', 'orphan', 'kernel', 'mediated'] as const;
export type Revocation = (typeof revocations)[number];

const isolationStrength: Record<Isolation, number> = {
  cooperative: 0,
  server: 1,
  'device-bounds': 2,
  exclusive: 3,
  pasid: 3,
};

/** True when `offered` is at least as strong as `minimum`. */
export function isolationAtLeast(offered: Isolation, minimum: Isolation): boolean {
  return isolationStrength[offered] >= isolationStrength[minimum];
}

/**
 * What is left of an isolation when another process serves the function: whatever its device
 * enforces, that process can keep the memory that it was given.
 */
export function isolationUnderServer(isolation: Isolation): Isolation {
  return isolationAtLeast(isolation, 'server') ? 'server' : isolation;
}

/** True when `offered` is at least as strong as `minimum`. */
export function revocationAtLeast(offered: Revocation, minimum: Revocation): boolean {
  return revocations.indexOf(offered) >= revocations.indexOf(minimum);
}

/**
 * What a mapping of a window may do with loads and stores at most: `device`, nothing, each reaches
 * the device by itself and in order; `write-combining`, hold stores back, merge and reorder them
 * until a fence.
 */
export const windowMemories = ['device', 'write-combining'] as const;
export type WindowMemory = (typeof windowMemories)[number];
