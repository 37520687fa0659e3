import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PasidPool } from './pasid-pool.js';

describe('PASID pool', () => {
  test('gives every number but 0, then none', () => {
    const pool = new PasidPool(3);
    const given = Array.from({ length: 7 }, () => pool.allocate());
    expect(given).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(pool.allocate()).toBeUndefined();
    expect(pool.takenCount).toBe(7);
  });

  test('has none when the function sends none', () => {
    expect(new PasidPool(0).allocate()).toBeUndefined();
  });

  test('is never wider than PCIe allows, whatever a function says of itself', () => {
    const pool = new PasidPool(63);
    let last: number | undefined;
    for (let n = 0; n < 2 ** 20 - 1; n += 1) last = pool.allocate();
    expect(last).toBe(2 ** 20 - 1);
    expect(pool.allocate()).toBeUndefined();
  });

  test('uses the number again that was unused for longest', () => {
    const pool = new PasidPool(2);
    pool.free(pool.allocate()!);
    expect([pool.allocate(), pool.allocate()]).toEqual([2, 3]);
    pool.free(3);
    expect([pool.allocate(), pool.allocate()]).toEqual([1, 3]);
  });

  test('keeps a number in quarantine until it is freed', () => {
    const pool = new PasidPool(1);
    pool.quarantine(pool.allocate()!);
    expect(pool.allocate()).toBeUndefined();
    expect(pool.quarantinedCount).toBe(1);
    pool.free(1);
    expect(pool.quarantinedCount).toBe(0);
    expect(pool.allocate()).toBe(1);
  });

  test('a number freed twice is our own bug', () => {
    const pool = new PasidPool(4);
    pool.free(pool.allocate()!);
    expect(() => pool.free(1)).toThrow('PASID 1 is not in use');
    expect(() => pool.quarantine(2)).toThrow('PASID 2 is not in use');
  });

  test('never gives a number that is in use, and none is used again before all others', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 200 }), (uses) => {
        const pool = new PasidPool(3);
        const taken: number[] = [];
        const lastFreed = new Map<number, number>();
        uses.forEach((use, time) => {
          if (use < 5) {
            const pasid = pool.allocate();
            if (pasid === undefined) {
              expect(taken).toHaveLength(7);
              return;
            }
            expect(taken).not.toContain(pasid);
            for (let other = 1; other < 8; other += 1) {
              if (other === pasid || taken.includes(other)) continue;
              expect(lastFreed.get(pasid) ?? -1).toBeLessThanOrEqual(lastFreed.get(other) ?? -1);
            }
            taken.push(pasid);
          } else if (taken.length > 0) {
            const [pasid] = taken.splice(use % taken.length, 1);
            pool.free(pasid!);
            lastFreed.set(pasid!, time);
          }
        });
      }),
    );
  });
});
