// What both ends of the vfio-user benchmarks agree on, as floor/vfio-user.h and the C client do.

/** Bytes of region 0, the only one: plain memory. */
export const regionBytes = 4096;
/** Requests under way at a time where they overlap. */
export const inFlightCount = 32;
