// linux/vfio.h: the screen of a mediated device.
import { struct, u32, u64 } from './struct.js';

export const VFIO_GFX_PLANE_TYPE_PROBE = 0x1;
export const VFIO_GFX_PLANE_TYPE_DMABUF = 0x2;
export const VFIO_GFX_PLANE_TYPE_REGION = 0x4;

/** `source` is the kernel's `region_index` or, with TYPE_DMABUF, its `dmabuf_id`. */
export const vfioDeviceGfxPlaneInfo = struct('vfio_device_gfx_plane_info', 64, {
  argsz: u32,
  flags: u32,
  drm_plane_type: u32,
  drm_format: u32,
  drm_format_mod: u64,
  width: u32,
  height: u32,
  stride: u32,
  size: u32,
  x_pos: u32,
  y_pos: u32,
  x_hot: u32,
  y_hot: u32,
  source: u32,
  reserved: u32,
});
