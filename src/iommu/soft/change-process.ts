// IOMMU_IOAS_CHANGE_PROCESS: everything that is mapped belongs to the calling process from now on.
import type { Payer } from './accounting.js';
import type { SoftContext } from './context.js';
import { fail } from './objects.js';
import type { Pages } from './pages.js';

const call = 'IOMMU_IOAS_CHANGE_PROCESS';

/** All or nothing. @throws OsError `EINVAL` for memory that is no file, `ENOMEM` */
export function changeProcess(context: SoftContext): void {
  const sources = new Set<Pages>();
  for (const ioas of context.objects.all()) {
    if (ioas.kind !== 'ioas') continue;
    for (const { pages } of ioas.areas) {
      if (pages === undefined) continue;
      const isFile = pages.kind === 'file' || pages.kind === 'no memory';
      if (!isFile) throw fail('EINVAL', call, 'memory that is no file');
      sources.add(pages);
    }
  }
  const { payment } = context;
  if (payment === undefined) return;
  const { accounting, process } = payment;
  // The new charges come first: for a moment both pay, as in Linux.
  const moved = [...sources].filter(({ payer }) => payer !== undefined && mustMove(payer, process));
  const charged: { readonly payer: Payer; readonly pages: number }[] = [];
  for (const mode of ['user', 'process'] as const) {
    const ofMode = moved.filter(({ payer }) => payer!.mode === mode);
    const pages = ofMode.reduce((sum, { paidPages }) => sum + paidPages, 0);
    const payer = { process, mode };
    if (!accounting.charge(payer, pages)) {
      for (const each of charged) accounting.uncharge(each.payer, each.pages);
      throw fail('ENOMEM', call, 'locked memory');
    }
    charged.push({ payer, pages });
  }
  for (const source of moved) accounting.uncharge(source.payer!, source.paidPages);
  for (const source of sources) {
    if (source.payer !== undefined) source.payer = { process, mode: source.payer.mode };
  }
}

function mustMove({ process, mode }: Payer, to: Payer['process']): boolean {
  if (mode === 'none') return false;
  return process.processId !== to.processId || (mode === 'user' && process.userId !== to.userId);
}
