// linux/iommufd.h in parts. Field names are the kernel's; every command's struct begins with its
// own size.
export * from './iommufd-fault.js';
export * from './iommufd-hw-info.js';
export * from './iommufd-hwpt.js';
export * from './iommufd-ioas.js';
export * from './iommufd-requests.js';
export * from './iommufd-viommu.js';
