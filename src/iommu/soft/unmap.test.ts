// Unmaps of areas that accesses have pinned, and what is aligned for an access.

import { describe, expect, test } from 'vitest';
import { u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { PAGE } from '../testing/ioas-world.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { Area } from './area.js';
import type { SoftContext } from './context.js';
import { HeldFiles } from './held-file.js';
import { type AreaUse, Ioas, type IoasAccess } from './ioas.js';
import { ObjectTable } from './objects.js';
import { unreachablePages } from './pages.js';
import { unmapAllReported, unmapReported } from './unmap.js';

/** Areas of one page at the given pages of an IOAS, and an access that lets go when it is asked. */
function setUp(pages: readonly number[]) {
  const { pool, extents, invalidation } = createSoftWorld();
  const context: SoftContext = {
    objects: new ObjectTable(),
    pool,
    extents,
    invalidation,
    files: new HeldFiles(),
    keepsFiles: false,
    userMemory: undefined,
    payment: undefined,
    compatIoas: undefined,
    holders: new Set(),
    dropHolder() {},
  };
  const ioas = new Ioas();
  const areas = pages.map((page) => {
    const at = page * 4096;
    const area = new Area(
      ioas,
      at,
      at + 4096,
      0,
      4,
      undefined,
      unreachablePages.readOnly,
      undefined,
    );
    ioas.areas.insert(area);
    return area;
  });
  const asked: bigint[] = [];
  let asksLeft = 1;
  const access: IoasAccess = {
    pageBytes: 1,
    onUnmap(iova, length) {
      asked.push(iova, length);
      asksLeft -= 1;
      if (asksLeft <= 0) ioas.uses.delete(ioas.areas.firstMeeting(iova, iova)!);
    },
  };
  ioas.accesses.add(access);
  const use = (index: number, change: Partial<AreaUse> = {}) =>
    ioas.uses.set(areas[index]!, { count: 1, lockCount: 0, isEnding: false, ...change });
  return { context, ioas, areas, asked, use, askTimes: (times: number) => (asksLeft = times) };
}

describe('UNMAP of areas in use', () => {
  test('6d the users are asked for the area, until they let go', () => {
    const { context, ioas, asked, use, askTimes } = setUp([1, 2]);
    use(1);
    askTimes(100);
    expect(unmapReported(context, ioas, PAGE, 2n * PAGE)).toEqual({
      size: 2n * PAGE,
      errno: undefined,
    });
    expect(asked).toHaveLength(200);
    expect(asked.slice(0, 2)).toEqual([2n * PAGE, PAGE]);
  });

  test('6d after one more than a hundred times it is EDEADLK, and what came before is gone', () => {
    const { context, ioas, asked, use, askTimes } = setUp([1, 2]);
    use(1);
    askTimes(101);
    expect(unmapAllReported(context, ioas)).toEqual({ size: PAGE, errno: 'EDEADLK' });
    expect([asked.length, ioas.areas.size]).toEqual([202, 1]);
  });

  test('6b a locked area is EBUSY, before anybody is asked or an edge is looked at', () => {
    const { context, ioas, asked, use } = setUp([1]);
    use(0, { lockCount: 1 });
    expect(unmapReported(context, ioas, PAGE, 1n)).toEqual({ size: 0n, errno: 'EBUSY' });
    expect(unmapReported(context, ioas, 0n, u64Max)).toEqual({ size: 0n, errno: 'EBUSY' });
    expect(asked).toEqual([]);
  });

  test('6c an area that sticks out is ENOENT, and nobody is asked', () => {
    const { context, ioas, asked, use } = setUp([1]);
    use(0);
    expect(unmapReported(context, ioas, PAGE, 1n)).toEqual({ size: 0n, errno: 'ENOENT' });
    expect(asked).toEqual([]);
  });
});

describe('5.5 alignment', () => {
  test('is the largest of all users, and falls when they leave', () => {
    const { ioas } = setUp([]);
    const small = { pageBytes: 2048, onUnmap() {} };
    const large = { pageBytes: 4096, onUnmap() {} };
    const alignments = [ioas.alignment];
    for (const user of [small, large]) {
      ioas.accesses.add(user);
      ioas.updateAlignment('test');
      alignments.push(ioas.alignment);
    }
    for (const user of [large, small]) {
      ioas.accesses.delete(user);
      ioas.updateAlignment('test');
      alignments.push(ioas.alignment);
    }
    expect(alignments).toEqual([1n, 2048n, 4096n, 2048n, 1n]);
  });

  test('over a page is EINVAL; an area that does not fit is EADDRINUSE', () => {
    const { ioas } = setUp([1]);
    const odd = new Area(ioas, 2048, 4096, 0, 4, undefined, unreachablePages.readOnly, undefined);
    ioas.areas.insert(odd);
    expect(errnoOf(() => ioas.checkAlignment(8192, 'test'))).toBe('EINVAL');
    expect(errnoOf(() => ioas.checkAlignment(2048, 'test'))).toBeUndefined();
    expect(errnoOf(() => ioas.checkAlignment(4096, 'test'))).toBe('EADDRINUSE');
    ioas.accesses.add({ pageBytes: 4096, onUnmap() {} });
    expect(errnoOf(() => ioas.updateAlignment('test'))).toBe('EADDRINUSE');
    expect(ioas.alignment).toBe(1n);
  });
});
