// linux/vfio.h in parts: what user space drivers of PCI devices need of it. Field names are the
// kernel's; most structs begin with `argsz`, the bytes that the caller gives.
export * from './vfio-container.js';
export * from './vfio-device.js';
export * from './vfio-features.js';
export * from './vfio-gfx.js';
export * from './vfio-hot-reset.js';
export * from './vfio-irq.js';
export * from './vfio-migration.js';
export * from './vfio-requests.js';
