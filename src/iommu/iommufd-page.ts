// docs/reference/iommufd.md, generated from the table of calls and that of deviations.

import type { Errno } from '../base/errno.js';
import { assert } from '../base/errors.js';
import { iommufdCommands } from '../uapi/iommufd-commands.js';
import * as requests from '../uapi/iommufd-requests.js';
import type { Iommufd } from './iommufd.js';
import { deviations } from './soft/deviations.js';

/** What answers a call, by its name in linux/iommufd.h; an errno: what software says instead. */
const answers: Readonly<Record<string, (keyof Iommufd & string) | { readonly refusal: Errno }>> = {
  IOMMU_DESTROY: 'destroy',
  IOMMU_IOAS_ALLOC: 'ioasAlloc',
  IOMMU_IOAS_ALLOW_IOVAS: 'ioasAllowIovas',
  IOMMU_IOAS_COPY: 'ioasCopy',
  IOMMU_IOAS_IOVA_RANGES: 'ioasIovaRanges',
  IOMMU_IOAS_MAP: 'ioasMap',
  IOMMU_IOAS_UNMAP: 'ioasUnmap',
  IOMMU_OPTION: 'option',
  IOMMU_VFIO_IOAS: 'vfioIoas',
  IOMMU_HWPT_ALLOC: 'hwptAlloc',
  IOMMU_GET_HW_INFO: 'hwInfo',
  IOMMU_HWPT_SET_DIRTY_TRACKING: 'setDirtyTracking',
  IOMMU_HWPT_GET_DIRTY_BITMAP: 'getDirtyBitmap',
  IOMMU_HWPT_INVALIDATE: 'hwptInvalidate',
  IOMMU_FAULT_QUEUE_ALLOC: 'faultQueueAlloc',
  IOMMU_IOAS_MAP_FILE: 'ioasMapFile',
  IOMMU_VIOMMU_ALLOC: { refusal: 'EOPNOTSUPP' },
  IOMMU_VDEVICE_ALLOC: { refusal: 'ENOENT' },
  IOMMU_IOAS_CHANGE_PROCESS: 'changeProcess',
  IOMMU_VEVENTQ_ALLOC: { refusal: 'ENOENT' },
  IOMMU_HW_QUEUE_ALLOC: { refusal: 'ENOENT' },
  IOMMU_IOAS_NOIOMMU_GET_PA: { refusal: 'EOPNOTSUPP' },
};

function callRow(request: number): string {
  const name = Object.entries(requests).find(([, value]) => value === request)?.[0];
  assert(name !== undefined, `request ${request} has a name`);
  const answer = answers[name];
  assert(answer !== undefined, `what answers ${name} is known`);
  if (typeof answer === 'string') return `| \`${name}\` | \`${answer}\` | yes | yes |`;
  return `| \`${name}\` | | checked, then ${answer.refusal} | not used |`;
}

/** The whole page. */
export function iommufdPage(): string {
  const calls = iommufdCommands.map(({ request }) => callRow(request));
  const rows = deviations.map(({ rule, linux, soft, why, notCompared }) => {
    return `| ${rule} | ${linux} | ${soft} | ${why} | ${notCompared ?? 'yes'} |`;
  });
  return `# iommufd

<!-- Generated from src/iommu/iommufd-page.ts by "node dist/test/tools/write-pages.js". -->

iommufd is how a program on Linux tells the IOMMU which memory a device may reach. lessor has it
twice behind one interface (\`src/iommu/iommufd.ts\`): over the kernel's \`/dev/iommu\`, for a
function behind VFIO, and in software, for an emulated one. What runs on the one runs on the other:
the same calls, in the same order of checks, with the same errnos.

## Calls

The software takes each call in two ways: by the typed method named here, and by bytes, as an ioctl
with a request number and a structure.

| call of linux/iommufd.h | method | in software | over the kernel |
|---|---|---|---|
${calls.join('\n')}

An iommufd is a legacy VFIO container, too: \`VFIO_GET_API_VERSION\`, \`VFIO_CHECK_EXTENSION\`,
\`VFIO_SET_IOMMU\`, \`VFIO_IOMMU_GET_INFO\`, \`VFIO_IOMMU_MAP_DMA\` and \`VFIO_IOMMU_UNMAP_DMA\` act on
the IOAS that \`IOMMU_VFIO_IOAS\` names. A device is bound, attached, replaced and detached, with or
without a PASID, as by \`VFIO_DEVICE_BIND_IOMMUFD\`, \`VFIO_DEVICE_ATTACH_IOMMUFD_PT\` and
\`VFIO_DEVICE_DETACH_IOMMUFD_PT\`.

## How it is measured

\`npm run test:kernel\` boots a Linux kernel in a virtual machine and makes the same calls on both, the
same bytes at the same addresses: edges written by hand, then random sequences. It compares every
result and every byte that is written back, and fails on a difference that is not in the table
below; a row of the table that no longer differs fails as well.
[The comparison with the kernel](../internals/kernel-comparison.md) says more. The typed methods of
both are held to one contract (\`src/iommu/testing/iommufd-contract.ts\`).

## Where the software differs on purpose

Each row has a test that shows what the software does. "Compared": the comparison shows it beside
the kernel, or why it cannot.

| what | Linux | in software | why | compared |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
