import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limits } from '../base/limits.js';
import { PasidPool } from './pasid-pool.js';

const alice = 1000;
const bob = 1001;

describe('PASID pool', () => {
  test('gives every number but 0, then none', () => {
    const pool = new PasidPool({ bits: 3 });
    const given = Array.from({ length: 7 }, () => pool.allocate(alice));
    expect(given).toEqual([1, 2, 3, 4, 5, 6, 7]);
    pool.quarantine(3);
    expect(() => pool.allocate(bob)).toThrow(
      expect.objectContaining({
        code: 'QUOTA_EXCEEDED',
        message: expect.stringContaining('all 7 PASIDs are in use, 1 in quarantine'),
        hint: 'end a lease, or release what is in quarantine',
      }),
    );
    expect(pool.takenCount).toBe(7);
  });

  test('has none when the function sends none', () => {
    expect(() => new PasidPool({ bits: 0 }).allocate(alice)).toThrow('all 0 PASIDs');
  });

  test('is never wider than PCIe allows, whatever a function says of itself', () => {
    const pool = new PasidPool({ bits: 63, perUidMax: Infinity });
    let last = 0;
    for (let n = 0; n < 2 ** 20 - 1; n += 1) last = pool.allocate(alice);
    expect(last).toBe(2 ** 20 - 1);
    expect(() => pool.allocate(alice)).toThrow('in use');
  });

  test('uses the number again that was unused for longest', () => {
    const pool = new PasidPool({ bits: 2 });
    pool.free(pool.allocate(alice));
    expect([pool.allocate(alice), pool.allocate(alice)]).toEqual([2, 3]);
    pool.free(3);
    expect([pool.allocate(alice), pool.allocate(alice)]).toEqual([1, 3]);
  });

  test('keeps a number in quarantine until it is freed', () => {
    const pool = new PasidPool({ bits: 1 });
    const pasid = pool.allocate(alice);
    pool.quarantine(pasid);
    pool.quarantine(pasid);
    expect(() => pool.allocate(bob)).toThrow('in use');
    expect(pool.quarantinedCount).toBe(1);
    pool.free(1);
    expect(pool.quarantinedCount).toBe(0);
    expect(pool.allocate(bob)).toBe(1);
  });

  test('gives one uid its share and no more; what is in quarantine counts', () => {
    const pool = new PasidPool({ bits: 20 });
    for (let n = 0; n < limits.pasidsPerUidMax; n += 1) pool.allocate(alice);
    const refusal = expect.objectContaining({
      code: 'QUOTA_EXCEEDED',
      message: expect.stringContaining(`uid ${alice} has ${limits.pasidsPerUidMax} PASIDs`),
      hint: 'end a lease of this uid, or release what it has in quarantine',
    });
    expect(() => pool.allocate(alice)).toThrow(refusal);
    pool.quarantine(7);
    expect(() => pool.allocate(alice)).toThrow(refusal);
    expect(pool.allocate(bob)).toBe(limits.pasidsPerUidMax + 1);
    pool.free(7);
    expect(pool.allocate(alice)).toBe(limits.pasidsPerUidMax + 2);
    expect(() => pool.allocate(alice)).toThrow(refusal);
  });

  test('a number freed twice is our own bug', () => {
    const pool = new PasidPool({ bits: 4 });
    pool.free(pool.allocate(alice));
    expect(() => pool.free(1)).toThrow('PASID 1 is not in use');
    expect(() => pool.quarantine(2)).toThrow('PASID 2 is not in use');
  });

  test('never gives a number that is in use, none before its time, nobody too many', () => {
    const use = fc.record({
      kind: fc.constantFrom('allocate', 'allocate', 'free', 'quarantine'),
      uid: fc.constantFrom(alice, bob),
      which: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(use, { maxLength: 200 }), (uses) => {
        const pool = new PasidPool({ bits: 3, perUidMax: 5 });
        const taken = new Map<number, { uid: number; quarantined: boolean }>();
        const lastFreed = new Map<number, number>();
        const countOf = (uid: number) => [...taken.values()].filter((t) => t.uid === uid).length;
        uses.forEach(({ kind, uid, which }, time) => {
          if (kind === 'allocate') {
            if (taken.size === 7 || countOf(uid) === 5) {
              expect(() => pool.allocate(uid)).toThrow();
              return;
            }
            const pasid = pool.allocate(uid);
            expect(pasid > 0 && pasid < 8 && !taken.has(pasid)).toBe(true);
            for (let other = 1; other < 8; other += 1) {
              if (other === pasid || taken.has(other)) continue;
              expect(lastFreed.get(pasid) ?? -1).toBeLessThanOrEqual(lastFreed.get(other) ?? -1);
            }
            taken.set(pasid, { uid, quarantined: false });
          } else if (taken.size > 0) {
            const pasid = [...taken.keys()][which % taken.size]!;
            if (kind === 'quarantine') {
              pool.quarantine(pasid);
              taken.get(pasid)!.quarantined = true;
            } else {
              pool.free(pasid);
              taken.delete(pasid);
              lastFreed.set(pasid, time);
            }
          }
          expect(pool.takenCount).toBe(taken.size);
          expect([pool.countOf(alice), pool.countOf(bob)]).toEqual([countOf(alice), countOf(bob)]);
          const inQuarantine = [...taken.values()].filter((t) => t.quarantined).length;
          expect(pool.quarantinedCount).toBe(inQuarantine);
        });
      }),
    );
  });
});
