import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { NodePool, nodeBytes, TableCharge } from './node-pool.js';

function account(tablePagesMax: number) {
  return { placedBytesMax: 0, tablePagesMax, placedBytes: 0, tablePages: 0 };
}

describe('pool of table pages', () => {
  test('all but node 0 can be had, one more is ARENA_FULL and charged to nobody', () => {
    const pool = new NodePool(4 * nodeBytes);
    const payer = account(9);
    const charge = new TableCharge(payer);
    const nodes = [pool.allocate(charge), pool.allocate(charge), pool.allocate(charge)];
    expect(() => pool.allocate(charge)).toThrowError(
      expect.objectContaining({ code: 'ARENA_FULL' }),
    );
    expect([...nodes, payer.tablePages, pool.usedCount]).toEqual([1, 2, 3, 3, 3]);
    pool.retire(2);
    // Retired is not free: a device may still walk it.
    expect(() => pool.allocate(charge)).toThrow();
    pool.release(pool.takeRetired()!);
    expect([payer.tablePages, pool.usedCount, pool.takeRetired()]).toEqual([2, 2, undefined]);
    expect(pool.allocate(undefined)).toBe(2);
    expect(payer.tablePages).toBe(2);
  });

  test('the limit of an account admits that many nodes, and one more takes none', () => {
    const pool = new NodePool(9 * nodeBytes);
    const payer = account(2);
    const charge = new TableCharge(payer);
    pool.allocate(charge);
    pool.allocate(charge);
    expect(() => pool.allocate(charge)).toThrowError(
      expect.objectContaining({ code: 'QUOTA_EXCEEDED' }),
    );
    expect([payer.tablePages, pool.usedCount]).toEqual([2, 2]);
  });

  test('huge pages are for a pool that is larger than one', () => {
    const views: Int32Array[] = [];
    const advise = (words: Int32Array): void => void views.push(words);
    new NodePool(2 * MiB, advise);
    expect(views).toEqual([]);
    const pool = new NodePool(6 * MiB, advise);
    expect(views.map((view) => [view.buffer, view.byteOffset, view.byteLength])).toEqual([
      [pool.shared, 0, 6 * MiB],
    ]);
  });
});
