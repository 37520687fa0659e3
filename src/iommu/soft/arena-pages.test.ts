import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { ArenaPages } from './arena-pages.js';

describe('arena pages', () => {
  test('pieces never overlap, are aligned, and all come back', () => {
    const piece = fc.record({
      pages: fc.integer({ min: 1, max: 40 }),
      alignBytes: fc.constantFrom(4096, 65_536),
      fromEnd: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.nat(1000)), { maxLength: 120 }), (steps) => {
        const pages = new ArenaPages(MiB, 2 * MiB);
        const taken = new Map<number, number>();
        for (const each of steps) {
          if (typeof each === 'number') {
            const offset = [...taken.keys()][each % Math.max(1, taken.size)];
            if (offset === undefined) continue;
            pages.free(offset, taken.get(offset)!);
            taken.delete(offset);
            continue;
          }
          const bytes = each.pages * 4096;
          const offset = pages.allocate(bytes, each);
          if (offset === undefined) continue;
          expect(offset % each.alignBytes).toBe(0);
          expect(offset).toBeGreaterThanOrEqual(MiB);
          expect(offset + bytes).toBeLessThanOrEqual(2 * MiB);
          for (const [other, length] of taken) {
            expect(other >= offset + bytes || other + length <= offset).toBe(true);
          }
          taken.set(offset, bytes);
        }
        for (const [offset, bytes] of taken) pages.free(offset, bytes);
        expect(pages.freeBytes).toBe(MiB);
        expect(pages.allocate(MiB)).toBe(MiB);
      }),
      { numRuns: 100 },
    );
  });

  test('lengths are rounded up to pages; a full part gives undefined', () => {
    const pages = new ArenaPages(0, 2 * 4096);
    expect(pages.allocate(1)).toBe(0);
    expect(pages.allocate(4097)).toBeUndefined();
    expect(pages.allocate(4096)).toBe(4096);
    expect(pages.allocate(1)).toBeUndefined();
    expect(() => pages.free(0, 3 * 4096)).toThrow();
    pages.free(0, 1);
    expect(() => pages.free(0, 1)).toThrow('free of free pages');
  });
});
