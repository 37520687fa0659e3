import { expect, test } from 'vitest';
import type { BrokerLease } from './lease.js';
import { LeaseBook } from './lease-book.js';

const lease = (id: string, uid = 1000, epoch = 1): BrokerLease =>
  ({ terms: { id, uid, epoch } }) as BrokerLease;
const failing = (code: string) => expect.objectContaining({ code });

test('tells what lives from what ended, what is stale, and what never was', () => {
  const book = new LeaseBook();
  const a = lease('a');
  book.add(a);
  expect(book.find('a', 1)).toBe(a);
  book.retire(a);
  expect(() => book.find('a', 1)).toThrow(failing('LEASE_ENDED'));
  expect(() => book.find('a', 2)).toThrow(failing('LEASE_STALE'));
  expect(() => book.find('b', 1)).toThrow(failing('LEASE_NOT_FOUND'));
});

test('counts a lease for its uid until its endpoint is closed', () => {
  const book = new LeaseBook();
  const [a, b] = [lease('a'), lease('b', 7)];
  book.add(a);
  book.add(b);
  expect([book.countOf(1000), book.countOf(7), book.liveCount]).toEqual([1, 1, 2]);
  book.retire(a);
  expect([book.countOf(1000), book.liveCount]).toEqual([1, 1]);
  expect(book.lingering).toEqual([a]);
  book.forget(a);
  expect([book.countOf(1000), book.lingering.length]).toEqual([0, 0]);
});

test('remembers the last 4096 that ended, and no more', () => {
  const book = new LeaseBook();
  for (let index = 0; index <= 4096; index += 1) {
    const one = lease(`id${index}`);
    book.add(one);
    book.retire(one);
    book.forget(one);
  }
  expect(() => book.find('id0', 1)).toThrow(failing('LEASE_NOT_FOUND'));
  expect(() => book.find('id1', 1)).toThrow(failing('LEASE_ENDED'));
  expect(() => book.find('id4096', 1)).toThrow(failing('LEASE_ENDED'));
});

test('charges the windows of a VM to its uid until its monitor is gone', () => {
  const book = new LeaseBook();
  const layout = { regions: [{ mappedBytes: 4096 }, undefined, { mappedBytes: 8192 }] };
  const vm = (id: string, uid: number, revocation: string): BrokerLease =>
    ({ terms: { id, uid, epoch: 1, revocation, layout } }) as unknown as BrokerLease;
  const mine = vm('a', 1000, 'orphan');
  for (const one of [mine, vm('b', 1000, 'kernel'), vm('c', 7, 'orphan')]) book.add(one);
  expect([book.orphanBytesOf(1000), book.orphanBytesOf(7)]).toEqual([12_288, 12_288]);
  book.retire(mine);
  expect(book.orphanBytesOf(1000)).toBe(12_288);
  book.forget(mine);
  expect(book.orphanBytesOf(1000)).toBe(0);
});
