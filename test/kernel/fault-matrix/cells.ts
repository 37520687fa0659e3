// The fault matrix: what an access does in each state, on the soft IOMMU and on the kernel's.
import type { FaultReason } from '../../../src/iommu/types.js';
import type { Expected } from './outcome.js';

export const accesses = ['read', 'write'] as const;
export type Access = (typeof accesses)[number];

/** How the memory that the access goes to is mapped. */
export const states = [
  'read-write',
  'read-only',
  'write-only',
  'unmapped',
  'detached',
  'replaced by an IOAS without it',
  'replaced by an IOAS with other memory',
  'a hole after its first half',
  'mapped for another PASID',
  'its PASID detached',
] as const;
export type State = (typeof states)[number];

/**
 * `soft`: an EDU device in a worker behind the soft IOMMU. `vfio`: QEMU's EDU behind the kernel's
 * driver for an Intel IOMMU. `soft access` and `mock`: software that uses an address space as a
 * device does, here and in the kernel, which makes one up for its own tests; for PASIDs `mock` is a
 * device that the kernel makes up.
 */
export const columns = ['soft', 'vfio', 'soft access', 'mock'] as const;
export type Column = (typeof columns)[number];
/** The columns of the kernel. */
export type KernelColumn = 'vfio' | 'mock';

export interface Cell {
  readonly access: Access;
  readonly state: State;
  readonly expected: Readonly<Record<Column, Expected>>;
  /** Why a column of the kernel is not as its counterpart in software. */
  readonly differs?: Partial<Readonly<Record<KernelColumn, string>>>;
  readonly note?: string;
}

const eduSendsNoPasid = { impossible: "QEMU's EDU sends no PASID" };
const mockKeepsAccess = { impossible: 'the mock gives an access another IOAS, and never none' };
const accessHasNoPasid = { impossible: 'an access has no PASID' };

const moves = { moved: 'all' } as const;

/** As the kernel prints it. The first two stand for an entry that is not there as well. */
const intelReason = {
  write: '0x05 PTE Write access is not set',
  read: '0x06 PTE Read access is not set',
  context: '0x02 Present bit in context entry is clear',
} as const;

function refused(access: Access, reason: FaultReason, errno: 'ENOENT' | 'EPERM') {
  return {
    soft: { moved: 'nothing', because: reason },
    vfio: { moved: 'nothing', because: intelReason[access] },
    'soft access': { moved: 'nothing', because: errno },
    mock: { moved: 'nothing', because: errno },
  } as const;
}

function cellsOf(access: Access): readonly Cell[] {
  const everywhere = { soft: moves, vfio: moves, 'soft access': moves, mock: moves };
  const other = { moved: 'other memory' } as const;
  const forbidden = refused(access, 'no permission', 'EPERM');
  const missing = refused(access, 'not mapped', 'ENOENT');
  const halfway = (because: string) => ({ moved: 'up to the hole', because }) as const;
  return [
    { access, state: 'read-write', expected: everywhere },
    {
      access,
      state: 'read-only',
      expected: access === 'read' ? everywhere : forbidden,
    },
    {
      access,
      state: 'write-only',
      expected: access === 'write' ? everywhere : forbidden,
      ...(access === 'write'
        ? {}
        : {
            note: 'A second-level table of VT-d has a bit for reads. Where hardware has none, as in tables shaped like those of a CPU, write-only memory can be read.',
          }),
    },
    { access, state: 'unmapped', expected: missing },
    {
      access,
      state: 'detached',
      expected: {
        soft: { moved: 'nothing', because: 'not attached' },
        vfio: { moved: 'nothing', because: intelReason.context },
        'soft access': { moved: 'nothing', because: 'ENOENT' },
        mock: mockKeepsAccess,
      },
    },
    { access, state: 'replaced by an IOAS without it', expected: missing },
    {
      access,
      state: 'replaced by an IOAS with other memory',
      expected: { soft: other, vfio: other, 'soft access': other, mock: other },
    },
    {
      access,
      state: 'a hole after its first half',
      expected: {
        soft: { moved: 'nothing', because: 'not mapped' },
        vfio: halfway(intelReason[access]),
        'soft access': halfway('ENOENT'),
        mock: access === 'write' ? halfway('ENOENT') : { moved: 'nothing', because: 'ENOENT' },
      },
      differs: {
        vfio: 'A device on the soft IOMMU has a transfer checked as a whole before a byte moves. Hardware checks page by page. Both refuse what is not mapped.',
        ...(access === 'write'
          ? {}
          : { mock: 'The call of the mock gives its caller nothing of a read that failed.' }),
      },
    },
    {
      access,
      state: 'mapped for another PASID',
      expected: {
        soft: { moved: 'nothing', because: 'not mapped' },
        vfio: eduSendsNoPasid,
        'soft access': accessHasNoPasid,
        mock: { moved: 'nothing', because: 'not in the HWPT of its PASID' },
      },
    },
    {
      access,
      state: 'its PASID detached',
      expected: {
        soft: { moved: 'nothing', because: 'not attached' },
        vfio: eduSendsNoPasid,
        'soft access': accessHasNoPasid,
        mock: { moved: 'nothing', because: 'its PASID has no HWPT' },
      },
    },
  ];
}

export const cells: readonly Cell[] = accesses.flatMap(cellsOf);
