// Where this iommufd differs from Linux on purpose. Everything else is meant to be the same.

export interface Deviation {
  /** What it is about, in a few words. */
  readonly rule: string;
  readonly linux: string;
  readonly soft: string;
  readonly why: string;
  /** Name of the test that shows what we do. */
  readonly test: string;
  /** Why the comparison with the kernel cannot show it. Absent: it does. */
  readonly notCompared?: string;
}

export const deviations: readonly Deviation[] = [
  {
    rule: 'PASIDs of a device without any',
    linux: 'attach of a PASID by a device without PASIDs succeeds and sets no hardware',
    soft: 'EOPNOTSUPP',
    why: 'a success that no DMA follows hides a wrong configuration',
    test: 'P3 a device without PASIDs is EOPNOTSUPP',
  },
  {
    rule: 'PASID 0',
    linux: 'PASID 0 is the slot of the requester id: attach, replace and detach act on that',
    soft: 'attach and replace are EINVAL, detach does nothing',
    why: 'who was given a PASID must not change what the whole device translates by',
    test: 'P3 P10 0 and what is too wide are EINVAL',
  },
  {
    rule: 'a replace that is refused',
    linux:
      'a replace refused by the hardware, between HWPTs of one IOAS, drops the reserved ranges ' +
      'of all attached members',
    soft: 'the ranges stay, as everything else does',
    why: 'a map over the MSI window of an attached device would go wrong',
    test: 'A3 a replace that the hardware refuses leaves the reserved ranges',
    notCompared: 'mock devices have no reserved ranges',
  },
  {
    rule: 'GET_DIRTY_BITMAP of a range that cuts a large page-table entry',
    linux:
      'an entry that begins before the range is made clean without a report; of one that ends ' +
      'after it, bits past the range are set as well',
    soft: 'the bits of the range are set, and the entry stays dirty',
    why: 'a write that is never reported corrupts what migrates',
    test: '10 an entry of 2 MiB is dirty as a whole; one that the range cuts stays so',
    notCompared: 'how large the entries of the kernel are depends on where memory happens to lie',
  },
  {
    rule: 'nested DMA',
    linux: 'the hardware walks the tables of the guest, then the parent',
    soft: 'DMA of what is attached to a nested HWPT is blocked',
    why: 'the format of the tables is that of real hardware, which is not emulated',
    test: 'nested DMA is blocked',
    notCompared: 'mock devices do no DMA',
  },
  {
    rule: 'MAP_FILE',
    linux: 'WRITEABLE looks neither at how the file is open nor at its seals',
    soft: 'EACCES for a read-only descriptor, EPERM for a sealed one, where the memory is placed',
    why: 'who may not write to memory must not let a device do it',
    test: 'MAP_FILE for writing takes memory that the caller may write',
  },
  {
    rule: 'MAP_FILE of a dma-buf',
    linux: 'takes the window of a device that vfio-pci exports',
    soft: 'EINVAL, where the memory is placed; windows are mapped by a call of their own',
    why: 'an emulated window is memory of the arena, of which there is no dma-buf',
    test: '9 with a domain: no memfd, or past its end, is EINVAL, and leaves nothing',
    notCompared: 'the devices of the virtual machine export none',
  },
  {
    rule: 'MAP_FILE beyond 2^53',
    linux: 'places any part of a file',
    soft: 'EINVAL for a range that ends beyond byte 2^53 of its file, where it is placed',
    why: 'offsets are numbers from there on, and no file holds as much',
    test: 'MAP_FILE beyond 2^53 bytes of a file is EINVAL with a domain',
    notCompared: 'random maps of a file as long would take all memory of the virtual machine',
  },
  {
    rule: 'pages of an IOAS whose last domain leaves',
    linux: 'are unpinned; the next domain pins what the file has then',
    soft: 'stay placed when they were mapped with a domain, unless `keepsFiles` is set',
    why: 'to find them again takes a descriptor for each map, and leases keep their domain',
    test: 'what was mapped with a domain has no file to find it by, and stays placed',
    notCompared: 'the comparison sets `keepsFiles`, so that everything else is compared',
  },
  {
    rule: 'addresses above 2^48',
    linux: 'are mapped where the hardware reaches them',
    soft: 'no device reaches them: they are reserved while one is attached',
    why: 'tables of one level more would make every translation slower',
    test: 'no table reaches above 2^48',
    notCompared: 'no device of the virtual machine reaches further',
  },
  {
    rule: 'IOMMU_VIOMMU_ALLOC',
    linux: 'makes a virtual IOMMU of a type that the hardware has',
    soft: 'EOPNOTSUPP once the device is found: there are none, and nothing that needs one',
    why: 'each type is the interface of real hardware, which is not emulated',
    test: 'a virtual IOMMU: flags and type, then the device, then never',
  },
  {
    rule: 'page requests that nobody reads or ends',
    linux: 'are kept, however many the hardware sends',
    soft: 'are answered INVALID beyond 4096 groups unread and 4096 requests without an end',
    why: 'what a device sends must not use up the memory of the broker',
    test: 'more than is kept is refused: groups that nobody reads, parts without an end',
    notCompared: 'the mock does not tell how its requests were answered',
  },
];
