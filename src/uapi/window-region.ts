// A device-specific region of lessor's own device server: by it a client puts memory of its own in
// place of frames. The memory comes by a DMA_MAP that permits no DMA, and the answer to its
// DMA_UNMAP says that the device no longer sees it.
//
// Read: the header, then the frames in order of region and offset. Write: one command at offset 0.
import { reserved, struct, u32, u64Number } from './struct.js';

/** VFIO_REGION_TYPE_PCI_VENDOR_TYPE with the vendor of lessor's own devices, and "WN". */
export const windowRegionType = { type: 0x8000_1234, subtype: 0x4e57 } as const;

/** "LSWN" */
export const windowRegionMagic = 0x4e57_534c;
export const windowRegionVersion = 1;

export const windowRegionHeader = struct('lessor_window_region', 16, {
  magic: u32,
  version: u32,
  frameCount: u32,
  reserved: reserved(4),
});

/** A client may write the frame; else only the device does. */
export const windowFrameWritable = 0x1;

export const windowFrame = struct('lessor_window_frame', 24, {
  region: u32,
  flags: u32,
  offset: u64Number,
  length: u64Number,
});

export const windowCommand = {
  /** Shows the device `length` bytes at `iova` in place of the frames of a range. */
  join: 1,
  /** The client stored something that a sleeping device may not see. */
  wake: 2,
} as const;

export const windowCommandRecord = struct('lessor_window_command', 32, {
  command: u32,
  region: u32,
  offset: u64Number,
  length: u64Number,
  iova: u64Number,
});
