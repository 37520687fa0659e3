// src/uapi against the kernel's headers: every size, offset, constant and request number, and
// that nothing of them is left out by oversight.
import { describe, expect, it } from 'vitest';
import * as iommufd from '../src/uapi/iommufd.js';
import { iommufdCommands } from '../src/uapi/iommufd-commands.js';
import * as vfio from '../src/uapi/vfio.js';
import * as mock from './kernel/mock-uapi.js';
import { compareLayouts, type HeaderModule, hasHeader, notInModule } from './support/c-layout.js';
import { kernelIncludeFolder } from './support/kernel-headers.js';

const sources: Readonly<Record<'iommufd' | 'vfio' | 'mock', HeaderModule>> = {
  iommufd: {
    header: 'linux/iommufd.h',
    module: iommufd,
    aliases: { 'iommu_hw_info.data_type': ['in_data_type', 'out_data_type'] },
  },
  vfio: {
    header: 'linux/vfio.h',
    module: vfio,
    aliases: {
      'vfio_pci_dependent_device.id': ['group_id', 'devid'],
      'vfio_device_gfx_plane_info.source': ['region_index', 'dmabuf_id'],
    },
    unnamed: ['uuid'],
  },
  mock: {
    header: 'iommufd_test.h',
    module: mock,
    aliases: {
      'iommu_test_cmd.check_iotlb.check_iotlb_id': ['check_iotlb.id'],
      'iommu_test_cmd.check_dev_cache.check_dev_cache_id': ['check_dev_cache.id'],
    },
  },
};

/** What of the headers src/uapi does without, and why. */
const leftOut: Readonly<Record<keyof typeof sources, readonly RegExp[]>> = {
  iommufd: [
    // What request numbers are made of.
    /^IOMMUFD_TYPE$/,
    /^IOMMUFD_CMD_/,
  ],
  vfio: [
    /^VFIO_TYPE$/,
    /^VFIO_BASE$/,
    // Strings of sysfs.
    /^VFIO_DEVICE_API_/,
    // IOMMUs and devices that are not on PCI, or of other architectures.
    /spapr|SPAPR_(INFO|TCE_(GET|CREATE|REMOVE)|REGISTER|UNREGISTER)/,
    /^vfio_eeh|^VFIO_EEH_PE/,
    /CCW_|^VFIO_AP_|_TYPE_CCW$/,
    /^vfio_region_info_cap_nvlink2|NVIDIA_NVLINK2|IBM_NVLINK2/,
    // The first way to migrate, which no kernel has any more.
    /^vfio_device_migration_info$|MIGRATION_DEPRECATED|_STATE_V1_|^VFIO_DEVICE_STATE_(MASK|NR)$/,
    // Regions of graphics devices.
    /^vfio_region_gfx_edid$|GFX_EDID|GFX_LINK_STATE|INTEL_IGD|^VFIO_REGION_TYPE_GFX$/,
  ],
  mock: [],
};

const include = kernelIncludeFolder();

describe.skipIf(include === undefined)(
  include === undefined ? 'NOT CHECKED: no headers of the test kernel' : 'the test kernel',
  () => {
    for (const name of ['iommufd', 'vfio', 'mock'] as const) {
      const source = sources[name];
      it(`lays ${source.header} out as src/uapi does`, () => {
        const { wrong, missing, checkCount } = compareLayouts(source, include!);
        expect(wrong).toEqual([]);
        expect(missing).toEqual([]);
        expect(checkCount).toBeGreaterThan(100);
      });

      it(`has nothing more in ${source.header} than what is left out on purpose`, () => {
        expect(notInModule(source, include!, leftOut[name])).toEqual([]);
      });
    }
  },
);

describe('the headers of this system', () => {
  for (const source of [sources.iommufd, sources.vfio]) {
    const { header } = source;
    it.skipIf(!hasHeader('/usr/include', header))(`agree where they have ${header}`, () => {
      const { wrong, missing, checkCount } = compareLayouts(source, '/usr/include');
      expect(wrong).toEqual([]);
      expect(checkCount).toBeGreaterThan(100);
      // A header may be older; what every one has is there.
      expect(missing).not.toContain('VFIO_DEVICE_GET_INFO');
      if (missing.length > 0) console.warn(`${header} is too old for: ${missing.join(', ')}`);
    });
  }
});

describe('a wrong layout', () => {
  const header = 'linux/vfio.h';
  it.skipIf(!hasHeader('/usr/include', header))('is noticed', () => {
    const module = {
      VFIO_DEVICE_RESET: vfio.VFIO_DEVICE_RESET + 1,
      swapped: {
        ...vfio.vfioIrqInfo,
        offsets: { ...vfio.vfioIrqInfo.offsets, count: 8, index: 12 },
      },
      short: { ...vfio.vfioGroupStatus, sizeBytes: 4 },
    };
    expect(compareLayouts({ header, module }, '/usr/include').wrong).toEqual([
      'vfio_irq_info.index is 8, not 12',
      'vfio_irq_info.count is 12, not 8',
      'vfio_group_status is 8, not 4',
      'VFIO_DEVICE_RESET is 15215, not 15216',
    ]);
  });
});

describe('the calls of /dev/iommu', () => {
  it('follow each other without a hole from the first number', () => {
    const numbers = iommufdCommands.map(({ request }) => request & 0xff);
    expect(numbers).toEqual(numbers.map((_, index) => iommufd.IOMMUFD_CMD_BASE + index));
  });

  it('take structs that begin with their size, some from before they grew', () => {
    for (const { struct } of iommufdCommands) expect(struct.offsets.size).toBe(0);
    const grown = iommufdCommands.filter(({ struct, leastBytes }) => leastBytes < struct.sizeBytes);
    expect(grown.map(({ struct, leastBytes }) => [struct.name, leastBytes])).toEqual([
      ['iommu_hwpt_alloc', iommufd.iommuHwptAlloc.offsets.data_type],
      ['iommu_hw_info', iommufd.iommuHwInfo.offsets.out_capabilities],
      ['iommu_viommu_alloc', iommufd.iommuViommuAlloc.offsets.data_len],
      ['iommu_veventq_alloc', iommufd.iommuVeventqAlloc.offsets.__reserved],
    ]);
  });
});
