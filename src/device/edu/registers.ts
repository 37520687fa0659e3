// The registers of the EDU device as QEMU specifies it (docs/specs/edu.rst), and what that page
// leaves to its implementation.

export const edu = {
  vendorId: 0x1234,
  deviceId: 0x11e8,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  revisionId: 0x10,
  /** PCI_CLASS_OTHERS, base class 0x00 in the old scheme. */
  classCode: 0x00ff00,
  registerRegion: 0,
  registerBytes: 1024 * 1024,
  /** From here on registers are 64 bits wide and may be accessed with 4 bytes or 8. */
  wideRegistersAt: 0x80,
  /** 0xRRrr00ed in the specification's spelling: version 1.0. */
  identification: 0x010000ed,
  /** Where the on-board buffer lies in the addresses of DMA_SOURCE and DMA_DESTINATION. */
  bufferAt: 0x40000,
  bufferBytes: 4096,
  dmaBitsDefault: 28,
  /** As in QEMU: long enough that a driver which does not wait is found out. */
  dmaDelayMsDefault: 100,
} as const;

/** Byte offsets in BAR0. */
export const eduRegister = {
  IDENTIFICATION: 0x00,
  LIVENESS: 0x04,
  FACTORIAL: 0x08,
  STATUS: 0x20,
  INTERRUPT_STATUS: 0x24,
  INTERRUPT_RAISE: 0x60,
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
} as const;

export const eduStatus = { COMPUTING: 0x01, FACTORIAL_INTERRUPT: 0x80 } as const;

export const eduCommand = { START: 1n, TO_MEMORY: 2n, INTERRUPT: 4n } as const;

/** Bits that the device itself sets in INTERRUPT_STATUS. */
export const eduInterrupt = { FACTORIAL: 0x001, DMA: 0x100 } as const;
