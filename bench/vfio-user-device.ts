// What both ends of the vfio-user benchmarks agree on, as floor/vfio-user.h and the C client do.

/** Bytes of region 0, the only one: plain memory. */
export const regionBytes = 4096;
/**
 * Offsets in the region: a 4-byte write of n makes the server read, or write, the first
 * `dmaBytes` of the client's memory n times, one message after the other.
 */
export const dmaReadDoorbell = 0x100;
export const dmaWriteDoorbell = 0x104;
/** Bytes of one DMA message. */
export const dmaBytes = 4096;
/** Requests under way at a time where they overlap. */
export const inFlightCount = 32;
