// Bits set in memory of the caller, across pages and up to what is not there.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FakeUserMemory } from '../../testing/fake-user-memory.js';
import { userBitmap } from './user-bitmap.js';
import { UserSpace } from './user-space.js';

test('runs of bits are set as a plain array would have them, wherever the bitmap lies', () => {
  const runs = fc.array(fc.tuple(fc.nat(79_000), fc.integer({ min: 1, max: 40_000 })), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(runs, fc.nat(4095), (all, offset) => {
      const memory = new FakeUserMemory();
      const bytes = new Uint8Array(4096 + 10_000);
      const address = memory.place(bytes) + BigInt(offset);
      const bitmap = userBitmap(new UserSpace(memory), address);
      const expected = new Uint8Array(bytes.length);
      const endBit = (bytes.length - offset) * 8;
      for (const [first, count] of all) {
        const inside = Math.min(count, endBit - first);
        bitmap.set(BigInt(first), BigInt(inside));
        for (let bit = first; bit < first + inside; bit++) {
          expected[offset + (bit >> 3)]! |= 1 << (bit & 7);
        }
      }
      expect(bytes).toEqual(expected);
    }),
    { numRuns: 10 },
  );
});

test('a run ends with the page before one that is not there; the next is tried again', () => {
  const memory = new FakeUserMemory();
  const bytes = new Uint8Array(2 * 4096);
  const address = memory.place(bytes);
  const bitmap = userBitmap(new UserSpace(memory), address);
  bitmap.set(4095n * 8n, 4097n * 8n + 1n);
  expect(bytes.subarray(0, 4095).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(4095).every((byte) => byte === 0xff)).toBe(true);
  bitmap.set(1n << 60n, 8n);
  bitmap.set(3n, 1n);
  expect(bytes[0]).toBe(8);
});

test('bits are never cleared, and nothing is set where nothing may be written', () => {
  const memory = new FakeUserMemory();
  const bytes = Uint8Array.of(0x80);
  userBitmap(new UserSpace(memory), memory.place(bytes)).set(0n, 2n);
  expect(bytes).toEqual(Uint8Array.of(0x83));
  const fixed = Uint8Array.of(0x80);
  userBitmap(new UserSpace(memory), memory.place(fixed, false)).set(0n, 2n);
  expect(fixed).toEqual(Uint8Array.of(0x80));
});
