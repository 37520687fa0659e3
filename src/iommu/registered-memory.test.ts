import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isOsError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import { RegisteredMemory } from './registered-memory.js';
import { FakeMemory } from './testing/fake-memory.js';

const PAGE = 4096;

function setUp() {
  const files = new FakeMemory();
  const memory = new RegisteredMemory();
  const add = (address: number, pages: number, isWritable = true, fd: Fd = files.create(PAGE)) => {
    const bytes = new Uint8Array(pages * PAGE).fill(address / PAGE);
    const offsetBytes = 3 * PAGE;
    const mapping = { address: BigInt(address), fd, offsetBytes, bytes, isWritable };
    return { ...mapping, registration: memory.register(mapping) };
  };
  return { memory, add };
}

function isFault(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch (error) {
    return isOsError(error, 'EFAULT');
  }
}

describe('RegisteredMemory', () => {
  test('resolves over neighbours, in order, and nothing over a gap', () => {
    const { memory, add } = setUp();
    const high = add(0x6000, 1);
    const low = add(0x4000, 2);
    expect(memory.resolve(0x5000n, 2 * PAGE, true)).toEqual([
      { fd: low.fd, offsetBytes: 4 * PAGE, lengthBytes: PAGE },
      { fd: high.fd, offsetBytes: 3 * PAGE, lengthBytes: PAGE },
    ]);
    expect(memory.resolve(0x3000n, PAGE, false)).toBeUndefined();
    expect(memory.resolve(0x3000n, 2 * PAGE, false)).toBeUndefined();
    expect(memory.resolve(0x6000n, 2 * PAGE, false)).toBeUndefined();
    low.registration[Symbol.dispose]();
    low.registration[Symbol.dispose]();
    expect(memory.resolve(0x5000n, PAGE, false)).toBeUndefined();
    expect(memory.resolve(0x6000n, PAGE, false)).toHaveLength(1);
  });

  test('what may not be written is there for reading alone', () => {
    const { memory, add } = setUp();
    add(0x4000, 1, false);
    expect(memory.resolve(0x4000n, PAGE, false)).toHaveLength(1);
    expect(memory.resolve(0x4000n, PAGE, true)).toBeUndefined();
    expect(memory.read(0x4ffen, 2)).toEqual(Uint8Array.of(4, 4));
    expect(isFault(() => memory.write(0x4000n, Uint8Array.of(1)))).toBe(true);
  });

  test('a write goes up to the first byte that is not there; a read is whole or nothing', () => {
    const { memory, add } = setUp();
    const { bytes } = add(0x4000, 1);
    expect(isFault(() => memory.write(0x4ffen, Uint8Array.of(7, 8, 9)))).toBe(true);
    expect([...bytes.subarray(-2)]).toEqual([7, 8]);
    expect(isFault(() => memory.read(0x4ffen, 3))).toBe(true);
    expect(memory.read(0x9000n, 0)).toEqual(new Uint8Array(0));
    expect(isFault(() => memory.read(2n ** 64n - 1n, 1))).toBe(true);
  });

  test('refuses what overlaps, or is no whole page', () => {
    const { add } = setUp();
    add(0x4000, 2);
    for (const [address, pages] of [
      [0x5000, 1],
      [0x3000, 2],
      [0x4000, 2],
      [0x4800, 1],
      [0x9000, 0.5],
      [0x9000, 0],
    ] as const) {
      expect(() => add(address, pages)).toThrow();
    }
    add(0x3000, 1);
    add(0x6000, 1);
  });

  test('reads and writes are those of one flat memory with holes', () => {
    const step = fc.record({ at: fc.nat(8 * PAGE), length: fc.nat(3 * PAGE), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.subarray([1, 2, 4, 5, 7]), fc.array(step, { maxLength: 12 }), (pages, all) => {
        const { memory, add } = setUp();
        const flat = new Map<number, number>();
        for (const page of pages) {
          add(page * PAGE, 1);
          for (let at = 0; at < PAGE; at++) flat.set(page * PAGE + at, page);
        }
        for (const { at, length, value } of all) {
          let reach = 0;
          while (reach < length && flat.has(at + reach)) reach += 1;
          const before = Array.from({ length }, (_, index) => flat.get(at + index) ?? -1);
          if (reach === length) expect([...memory.read(BigInt(at), length)]).toEqual(before);
          else expect(isFault(() => memory.read(BigInt(at), length))).toBe(true);
          const data = new Uint8Array(length).fill(value);
          expect(isFault(() => memory.write(BigInt(at), data))).toBe(reach < length);
          for (let index = 0; index < reach; index++) flat.set(at + index, value);
        }
      }),
      { numRuns: 30 },
    );
  });
});
