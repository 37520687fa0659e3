// iommufd_test.h: the devices, accesses and events that a kernel with CONFIG_IOMMUFD_TEST makes up.
// One call whose struct holds a union: here it is one struct of the same size for each member.
import { vfioIoctl } from '../../src/uapi/ioctl-number.js';
import {
  type Fields,
  reserved,
  type Struct,
  s32,
  struct,
  u32,
  u64,
} from '../../src/uapi/struct.js';

export const IOMMU_TEST_CMD = vfioIoctl(0xa0);

export const IOMMU_TEST_OP_ADD_RESERVED = 1;
export const IOMMU_TEST_OP_MOCK_DOMAIN = 2;
export const IOMMU_TEST_OP_MD_CHECK_MAP = 3;
export const IOMMU_TEST_OP_MD_CHECK_REFS = 4;
export const IOMMU_TEST_OP_CREATE_ACCESS = 5;
export const IOMMU_TEST_OP_DESTROY_ACCESS_PAGES = 6;
export const IOMMU_TEST_OP_ACCESS_PAGES = 7;
export const IOMMU_TEST_OP_ACCESS_RW = 8;
export const IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT = 9;
export const IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE = 10;
export const IOMMU_TEST_OP_ACCESS_REPLACE_IOAS = 11;
export const IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS = 12;
export const IOMMU_TEST_OP_DIRTY = 13;
export const IOMMU_TEST_OP_MD_CHECK_IOTLB = 14;
export const IOMMU_TEST_OP_TRIGGER_IOPF = 15;
export const IOMMU_TEST_OP_DEV_CHECK_CACHE = 16;
export const IOMMU_TEST_OP_TRIGGER_VEVENT = 17;
export const IOMMU_TEST_OP_PASID_ATTACH = 18;
export const IOMMU_TEST_OP_PASID_REPLACE = 19;
export const IOMMU_TEST_OP_PASID_DETACH = 20;
export const IOMMU_TEST_OP_PASID_CHECK_HWPT = 21;
export const IOMMU_TEST_OP_DMABUF_GET = 22;
export const IOMMU_TEST_OP_DMABUF_REVOKE = 23;

export const MOCK_IOMMUPT_DEFAULT = 0;
export const MOCK_IOMMUPT_HUGE = 1;

// Of MOCK_IOMMUPT_DEFAULT.
export const MOCK_APERTURE_START = 0x100_0000;
export const MOCK_APERTURE_LAST = 0x7fff_ffff;
export const MOCK_PAGE_SIZE = 2048;
export const MOCK_HUGE_PAGE_SIZE = 512 * MOCK_PAGE_SIZE;

export const MOCK_FLAGS_ACCESS_WRITE = 0x1;
export const MOCK_FLAGS_ACCESS_SYZ = 0x1_0000;

export const MOCK_ACCESS_RW_WRITE = 0x1;
export const MOCK_ACCESS_RW_SLOW_PATH = 0x4;

export const MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES = 0x1;

export const MOCK_FLAGS_DEVICE_NO_DIRTY = 0x1;
export const MOCK_FLAGS_DEVICE_PASID = 0x4;

export const MOCK_NESTED_DOMAIN_IOTLB_ID_MAX = 3;
export const MOCK_NESTED_DOMAIN_IOTLB_NUM = 4;

export const MOCK_DEV_CACHE_ID_MAX = 3;
export const MOCK_DEV_CACHE_NUM = 4;

/** A replace with this PASID fails on purpose. */
export const IOMMU_TEST_PASID_RESERVED = 1024;

export const MOCK_PASID_WIDTH = 20;

export const IOMMU_HW_INFO_TYPE_SELFTEST = 0xfeed_beef;
export const IOMMU_HW_INFO_SELFTEST_REGVAL = 0xdead_beef;

export const IOMMU_HWPT_DATA_SELFTEST = 0xdead;
export const IOMMU_TEST_IOTLB_DEFAULT = 0xbad_beef;
export const IOMMU_TEST_DEV_CACHE_DEFAULT = 0xba_ddad;

export const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST = 0xdead_beef;
export const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID = 0xdad_beef;
export const IOMMU_TEST_INVALIDATE_FLAG_ALL = 0x1;

export const IOMMU_VIOMMU_TYPE_SELFTEST = 0xdead_beef;
export const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST = 0xdead_beef;
export const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID = 0xdad_beef;
export const IOMMU_VEVENTQ_TYPE_SELFTEST = 0xbeef_beef;
export const IOMMU_HW_QUEUE_TYPE_SELFTEST = 0xdead_beef;
export const IOMMU_TEST_HW_QUEUE_MAX = 2;

const head = { size: u32, op: u32, id: u32, __reserved: u32 };
const headBytes = 16;
const unionBytes = 48;

/** The size of the struct, whichever member of its union is meant. */
export const testCmdBytes = headBytes + unionBytes + 8;
/** The end of `last`. */
export const testCmdLeastBytes = headBytes + unionBytes + 4;

/** @param pad - Bytes of the union behind the member. */
function member<F extends Fields>(name: string, fields: F, pad: number) {
  const tail = { _rest: reserved(pad), last: u32, _padding: reserved(4) };
  return struct(`iommu_test_cmd.${name}`, testCmdBytes, { ...head, ...fields, ...tail });
}

/** For each member of the union, by its name in the header. */
export const testCmd = {
  add_reserved: member('add_reserved', { start: u64, length: u64 }, 32),
  mock_domain: member('mock_domain', { out_stdev_id: u32, out_hwpt_id: u32, out_idev_id: u32 }, 36),
  mock_domain_flags: member(
    'mock_domain_flags',
    { out_stdev_id: u32, out_hwpt_id: u32, out_idev_id: u32, dev_flags: u32 },
    32,
  ),
  mock_domain_replace: member('mock_domain_replace', { pt_id: u32 }, 44),
  check_map: member('check_map', { iova: u64, length: u64, uptr: u64 }, 24),
  check_refs: member('check_refs', { length: u64, uptr: u64, refs: u32 }, 28),
  create_access: member('create_access', { out_access_fd: u32, flags: u32 }, 40),
  destroy_access_pages: member('destroy_access_pages', { access_pages_id: u32 }, 44),
  access_pages: member(
    'access_pages',
    { flags: u32, out_access_pages_id: u32, iova: u64, length: u64, uptr: u64 },
    16,
  ),
  access_rw: member('access_rw', { iova: u64, length: u64, uptr: u64, flags: u32 }, 20),
  memory_limit: member('memory_limit', { limit: u32 }, 44),
  access_replace_ioas: member('access_replace_ioas', { ioas_id: u32 }, 44),
  dirty: member(
    'dirty',
    {
      flags: u32,
      _padding_flags: reserved(4),
      iova: u64,
      length: u64,
      page_size: u64,
      uptr: u64,
      out_nr_dirty: u64,
    },
    0,
  ),
  // The kernel's `id`, which the head has already.
  check_iotlb: member('check_iotlb', { check_iotlb_id: u32, iotlb: u32 }, 40),
  trigger_iopf: member(
    'trigger_iopf',
    { dev_id: u32, pasid: u32, grpid: u32, perm: u32, addr: u64 },
    24,
  ),
  check_dev_cache: member('check_dev_cache', { check_dev_cache_id: u32, cache: u32 }, 40),
  trigger_vevent: member('trigger_vevent', { dev_id: u32 }, 44),
  pasid_attach: member('pasid_attach', { pasid: u32, pt_id: u32 }, 40),
  pasid_replace: member('pasid_replace', { pasid: u32, pt_id: u32 }, 40),
  pasid_detach: member('pasid_detach', { pasid: u32 }, 44),
  pasid_check: member('pasid_check', { pasid: u32, hwpt_id: u32 }, 40),
  dmabuf_get: member('dmabuf_get', { length: u32, open_flags: u32 }, 40),
  dmabuf_revoke: member('dmabuf_revoke', { dmabuf_fd: s32, revoked: u32 }, 40),
} satisfies Record<string, Struct<never> | Struct<unknown>>;

export const iommuTestHwInfo = struct('iommu_test_hw_info', 8, { flags: u32, test_reg: u32 });

export const iommuHwptSelftest = struct('iommu_hwpt_selftest', 8, {
  iotlb: u32,
  pagetable_type: u32,
});

export const iommuHwptInvalidateSelftest = struct('iommu_hwpt_invalidate_selftest', 8, {
  flags: u32,
  iotlb_id: u32,
});

export const iommuViommuSelftest = struct('iommu_viommu_selftest', 24, {
  in_data: u32,
  out_data: u32,
  out_mmap_offset: u64,
  out_mmap_length: u64,
});

export const iommuViommuInvalidateSelftest = struct('iommu_viommu_invalidate_selftest', 12, {
  flags: u32,
  vdev_id: u32,
  cache_id: u32,
});

export const iommuViommuEventSelftest = struct('iommu_viommu_event_selftest', 4, { virt_id: u32 });
