// Cutting areas in two, for the first version of the legacy interface alone.
import { type Area, createArea } from './area.js';
import type { SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import { pin, sharedPages, unpin } from './pin.js';

/**
 * Cuts the areas that contain these bytes behind them. An area that ends there stays whole, and so
 * does one that begins there, as in Linux. Areas before one that cannot be cut stay cut.
 *
 * @throws OsError `EBUSY`, `EOPNOTSUPP` for a window, `EINVAL`
 */
export function cutAreas(
  context: SoftContext,
  ioas: Ioas,
  iovas: readonly bigint[],
  call: string,
): void {
  for (const iova of iovas) {
    const area = ioas.areas.firstMeeting(iova, iova);
    if (area !== undefined && iova !== area.start && iova !== area.last) {
      cut(context, area, iova + 1n, call);
    }
  }
}

/** @param at - First byte of the second part. */
function cut(context: SoftContext, area: Area, at: bigint, call: string): void {
  const { ioas, start, length, protection, account } = area;
  const use = ioas.uses.get(area);
  if (use?.isEnding) throw fail('EBUSY', call, 'the area is about to go');
  if (area.pages?.kind === 'window') throw fail('EOPNOTSUPP', call, 'a window is never cut');
  const source = BigInt(area.sourceStart);
  const middle = source + (at - start);
  if (((at | middle) & ioas.alignmentMask) !== 0n) throw fail('EINVAL', call, 'an unaligned cut');
  if (use !== undefined) throw fail('EINVAL', call, 'the area is in use');
  if (ioas.domains.length > 0 && ioas.hasHugePages) {
    throw fail('EINVAL', call, 'the area may be in large pages');
  }
  const pages = sharedPages(context, area);
  const head = createArea(ioas, start, at - start, source, protection, account, pages);
  const rest = start + length - at;
  const tail = createArea(ioas, at, rest, middle, protection, account, pages);
  for (const part of [head, tail]) {
    pages.join(part);
    // Out of what the area itself has placed: nothing that can fail.
    if (area.extents !== undefined) pin(context, part, call);
  }
  unpin(context, area);
  pages.leave(area);
  for (const domain of ioas.domains) domain.shareCharge(account);
  ioas.areas.remove(area);
  ioas.areas.insert(head);
  ioas.areas.insert(tail);
}
