import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Iova } from '../base/units.js';
import { IovaAllocator } from './iova-allocator.js';

const page = 4096;
const window = { base: 0x10_000, lengthBytes: 8 * page };
const at = (index: number): Iova => (window.base + index * page) as Iova;

test('takes the first hole, in whole pages, to the last byte of the window', () => {
  const iovas = new IovaAllocator(window, page);
  expect(iovas.allocate(1)).toBe(at(0));
  expect(iovas.allocate(page + 1)).toBe(at(1));
  expect(iovas.allocate(5 * page)).toBe(at(3));
  expect(() => iovas.allocate(1)).toThrow(expect.objectContaining({ code: 'QUOTA_EXCEEDED' }));
  iovas.free(at(1));
  expect(() => iovas.allocate(3 * page)).toThrow(/no hole/);
  expect(iovas.allocate(2 * page)).toBe(at(1));
});

test('keeps away from addresses that the caller chose', () => {
  const iovas = new IovaAllocator(window, page);
  iovas.take(at(2), page);
  expect(iovas.allocate(3 * page)).toBe(at(3));
  expect(iovas.allocate(2 * page)).toBe(at(0));
  iovas.free(at(2));
  expect(iovas.allocate(page)).toBe(at(2));
});

test('never gives one page twice', () => {
  const step = fc.record({ pages: fc.integer({ min: 1, max: 4 }), free: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const iovas = new IovaAllocator(window, page);
      const live: { iova: Iova; pages: number }[] = [];
      const taken = new Set<number>();
      for (const { pages, free } of steps) {
        const [gone] = live.splice(free % (live.length + 1), 1);
        if (gone !== undefined) {
          iovas.free(gone.iova);
          for (let index = 0; index < gone.pages; index += 1)
            taken.delete(gone.iova + index * page);
        }
        let iova: Iova;
        try {
          iova = iovas.allocate(pages * page);
        } catch {
          continue;
        }
        expect(iova >= at(0) && iova + pages * page <= at(8)).toBe(true);
        for (let index = 0; index < pages; index += 1) {
          expect(taken.has(iova + index * page)).toBe(false);
          taken.add(iova + index * page);
        }
        live.push({ iova, pages });
      }
    }),
  );
});
