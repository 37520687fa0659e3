// Where this iommufd differs from Linux on purpose. Everything else is meant to be the same.

export interface Deviation {
  /** Rule of the semantics, or the call. */
  readonly rule: string;
  readonly linux: string;
  readonly soft: string;
  readonly why: string;
}

export const deviations: readonly Deviation[] = [
  {
    rule: 'P3',
    linux: 'attach of a PASID by a device without PASIDs succeeds and sets no hardware',
    soft: 'EOPNOTSUPP',
    why: 'a success that no DMA follows hides a wrong configuration',
  },
  {
    rule: 'P10',
    linux: 'PASID 0 is the slot of the requester id: attach, replace and detach act on that',
    soft: 'attach and replace are EINVAL, detach does nothing',
    why: 'who was given a PASID must not change what the whole device translates by',
  },
  {
    rule: 'A3',
    linux:
      'a replace refused by the hardware, between HWPTs of one IOAS, drops the reserved ranges ' +
      'of all attached members',
    soft: 'the ranges stay, as everything else does',
    why: 'a map over the MSI window of an attached device would go wrong',
  },
  {
    rule: 'GET_DIRTY_BITMAP of a range that cuts a large page-table entry',
    linux:
      'an entry that begins before the range is made clean without a report; of one that ends ' +
      'after it, bits past the range are set as well',
    soft: 'the bits of the range are set, and the entry stays dirty',
    why: 'a write that is never reported corrupts what migrates',
  },
  {
    rule: 'nested DMA',
    linux: 'the hardware walks the tables of the guest, then the parent',
    soft: 'DMA of what is attached to a nested HWPT is blocked',
    why: 'the format of the tables is that of real hardware, which is not emulated',
  },
  {
    rule: 'MAP_FILE',
    linux: 'WRITEABLE looks neither at how the file is open nor at its seals',
    soft: 'EACCES for a read-only descriptor, EPERM for a sealed one, where the memory is placed',
    why: 'who may not write to memory must not let a device do it',
  },
];
