// The registers of the counter, as its driver sees them. All little-endian, 32 bits wide.

export const counter = {
  /** Assigned to nobody; emulators use it. */
  vendorId: 0x1234,
  deviceId: 0x636e,
  revisionId: 1,
  /** Base class 0x08, subclass 0x80: another system peripheral. */
  classCode: 0x088000,
  /** Value of ID: "cntr" in memory order. */
  id: 0x72746e63,
  /** BAR0: registers. */
  registerRegion: 0,
  /** BAR1: one page that clients map; its first two words show COUNT and STATUS. */
  pageRegion: 1,
  /** BAR2: MSI-X table and PBA, one vector. */
  msixRegion: 2,
  regionBytes: 4096,
  pbaOffset: 0x800,
  /** While the counter runs the page is never older than this. */
  pageAgeMsMax: 10,
} as const;

/** Byte offsets in BAR0. */
export const counterRegister = {
  /** ro: says what this is. */
  ID: 0x00,
  /** rw: goes up by one each millisecond while it runs, modulo 2^32. */
  COUNT: 0x04,
  /** rw: when COUNT has gone up to this, REACHED in STATUS is set. */
  COMPARE: 0x08,
  /** rw: counterControl bits. */
  CONTROL: 0x0c,
  /** w1c: counterStatus bits. */
  STATUS: 0x10,
  /** wo, reads 0: counts so many on at once. */
  ADD: 0x14,
} as const;

export const counterControl = {
  /** Counts by itself. */
  RUN: 1,
  /** REACHED interrupts: vector 0 when it is set, INTx as long as it is. */
  INTERRUPT: 2,
} as const;

export const counterStatus = { REACHED: 1 } as const;

/** Word indexes in the page of BAR1. */
export const counterPageWord = { COUNT: 0, STATUS: 1 } as const;
