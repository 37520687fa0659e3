// The matrix as a page: docs/internals/fault-matrix.md.
import { cells, columns } from './cells.js';
import { describe } from './outcome.js';

const lead = `What an access of a device does, by how its memory is mapped: on the soft IOMMU and on the kernel's. \`npm run test:kernel\` measures every cell, and so does \`npm run vm -- node dist/test/kernel/fault-matrix/main.js\` alone. It fails when a cell is not as it stands here, or when kernel and software differ and no reason is given. The columns in software are tests of \`npm test\` as well.

| column | what makes the access | how it is seen |
|---|---|---|
| soft | an EDU device in its worker, behind the soft IOMMU | the bytes in memory and in the device; the reason that its IOMMU reports |
| vfio | QEMU's EDU device behind an Intel IOMMU, bound to vfio-pci and attached through \`/dev/iommu\` | the bytes in memory and in the device; requester, address and reason in the kernel's log |
| soft access | software that uses a soft address space as a device does | the bytes, and the errno |
| mock | the same in the kernel; for PASIDs a device that the kernel makes up, which has no DMA | the bytes, and the errno; for PASIDs which HWPT is attached, and where it leads |

\`vfio\` is compared with \`soft\` in what moves, \`mock\` with \`soft access\` in the errno as well. The same calls bring the states about everywhere. Those that take something away use the translation first, so that one which is kept for too long shows. The Intel IOMMU gives one reason for what is not mapped and for what is mapped without the permission.`;

export function faultMatrixPage(): string {
  const head = [`| access | state | ${columns.join(' | ')} |`, '|---|---|---|---|---|---|'];
  const notes: string[] = [];
  const rows = cells.map(({ access, state, expected, differs, note }) => {
    const marks = [differs?.vfio, differs?.mock, note]
      .filter((text) => text !== undefined)
      .map((text) => {
        if (!notes.includes(text)) notes.push(text);
        return ` (${notes.indexOf(text) + 1})`;
      });
    const outcomes = columns.map((column) => describe(expected[column]));
    return `| ${access} | ${state}${marks.join('')} | ${outcomes.join(' | ')} |`;
  });
  const list = notes.map((text, index) => `${index + 1}. ${text}`);
  return ['# Fault matrix', lead, [...head, ...rows].join('\n'), list.join('\n')]
    .join('\n\n')
    .concat('\n');
}
