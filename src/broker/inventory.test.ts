import { expect, test } from 'vitest';
import type { Slice } from '../driver/types.js';
import { Inventory } from './inventory.js';

const slice = (name: string, kind: string): Slice => ({ name, kind }) as Slice;
const [one, two, other] = [
  slice('queue0', 'queue'),
  slice('queue1', 'queue'),
  slice('dma0', 'dma'),
];

test('a slice is free, leased, in quarantine, and free again', () => {
  const inventory = new Inventory([one, two]);
  expect(inventory.isFree(one)).toBe(true);
  inventory.lease(one, 'A');
  expect(inventory.status('queue0')).toEqual({ state: 'leased', leaseId: 'A' });
  expect(() => inventory.lease(one, 'B')).toThrow('leased twice');
  inventory.quarantine(one, 'A');
  expect(inventory.isFree(one)).toBe(false);
  expect(inventory.holders([one, two])).toEqual([
    { slice: 'queue0', leaseId: 'A', state: 'quarantined' },
  ]);
  inventory.release(one);
  expect(inventory.holders([one, two])).toEqual([]);
  expect(() => inventory.release(one)).toThrow('freed twice');
  expect(() => inventory.quarantine(two, 'A')).toThrow('was not leased');
});

test('candidates are by kind, by name, or both, in order', () => {
  const inventory = new Inventory([one, other, two]);
  expect(inventory.candidates({})).toEqual([one, other, two]);
  expect(inventory.candidates({ kind: 'queue' })).toEqual([one, two]);
  expect(inventory.candidates({ slice: 'dma0' })).toEqual([other]);
  const unknown = (code: string) => expect.objectContaining({ code });
  expect(() => inventory.candidates({ kind: 'gpu' })).toThrow(unknown('UNKNOWN_KIND'));
  expect(() => inventory.candidates({ slice: 'x' })).toThrow(unknown('UNKNOWN_SLICE'));
  const both = { kind: 'queue', slice: 'dma0' };
  expect(() => inventory.candidates(both)).toThrow(unknown('UNKNOWN_KIND'));
});

test('two slices of one name are our own bug', () => {
  expect(() => new Inventory([one, slice('queue0', 'dma')])).toThrow('two slices');
});
