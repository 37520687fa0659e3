// Rules D1 to D6 of the entry, for every request; and which reserved fields each looks at.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type IommufdCommand, iommufdCommands } from '../../../uapi/iommufd-commands.js';
import { createSoftCaller } from '../../testing/soft-caller.js';
import { commands } from './commands.js';

const known = new Set(commands.map(({ request }) => request));
const supported = iommufdCommands.filter(({ request }) => known.has(request));
const rows = supported.map((command): [string, IommufdCommand] => [command.struct.name, command]);

/** Zeros but for the size. */
function sized(size: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  new DataView(bytes.buffer).setUint32(0, size, true);
  return bytes;
}

/** Neither called a method nor wrote anything. */
function expectRefused(errno: string, request: number, bytes: Uint8Array): void {
  const caller = createSoftCaller();
  const before = bytes.slice();
  expect(caller.ioctl(request, bytes)).toBe(errno);
  expect(caller.called).toEqual([]);
  expect(bytes).toEqual(before);
}

describe.each(rows)('%s', (_name, { request, struct, leastBytes }) => {
  test('D2 the size itself must be there', () => {
    for (const length of [0, 1, 3]) expectRefused('EFAULT', request, new Uint8Array(length));
  });

  test('D2 any direction or size in the request is another request', () => {
    for (const bits of [0x4000_0000, 0x8000_0000, 0x0008_0000, 0x100, 0x8000]) {
      expectRefused('ENOTTY', (request ^ bits) >>> 0, sized(struct.sizeBytes, struct.sizeBytes));
      // The size is looked for first.
      expectRefused('EFAULT', (request ^ bits) >>> 0, new Uint8Array(2));
    }
  });

  test('D4 a size below the least is refused, whatever is there', () => {
    for (const size of [0, 1, 4, leastBytes - 1]) {
      expectRefused('EINVAL', request, sized(size, struct.sizeBytes));
      expectRefused('EINVAL', request, sized(size, 4));
    }
  });

  test('D2 bytes that the size promises must be there', () => {
    for (const size of [leastBytes, struct.sizeBytes]) {
      expectRefused('EFAULT', request, sized(size, size - 1));
    }
    expectRefused('EFAULT', request, sized(struct.sizeBytes + 8, struct.sizeBytes + 7));
    expectRefused('EFAULT', request, sized(0xffff_ffff, struct.sizeBytes + 4096));
  });

  test('D2 a tail that is not zero is refused before what is missing behind it', () => {
    for (const at of [0, 7, 4095]) {
      const bytes = sized(struct.sizeBytes + 4096, struct.sizeBytes + 4096);
      bytes[struct.sizeBytes + at] = 1;
      expectRefused('E2BIG', request, bytes);
      expectRefused('E2BIG', request, bytes.subarray(0, struct.sizeBytes + at + 1));
    }
  });

  test('D3 D4 a longer struct with a zero tail does the same; the tail stays', () => {
    const exact = sized(struct.sizeBytes, struct.sizeBytes);
    const longer = sized(struct.sizeBytes + 100, struct.sizeBytes + 100);
    const one = createSoftCaller();
    const other = createSoftCaller();
    expect(other.ioctl(request, longer)).toBe(one.ioctl(request, exact));
    expect(other.called).toEqual(one.called);
    expect(longer.subarray(4, struct.sizeBytes)).toEqual(exact.subarray(4));
    expect(longer.subarray(struct.sizeBytes)).toEqual(new Uint8Array(100));
  });

  test('D2 D3 a shorter struct is as one with zeros; nothing is written behind its end', () => {
    const exact = sized(struct.sizeBytes, struct.sizeBytes);
    const shorter = sized(leastBytes, struct.sizeBytes + 8).fill(0xa5, leastBytes);
    const one = createSoftCaller();
    const other = createSoftCaller();
    expect(other.ioctl(request, shorter)).toBe(one.ioctl(request, exact));
    expect(shorter.subarray(4, leastBytes)).toEqual(exact.subarray(4, leastBytes));
    const behind = struct.sizeBytes + 8 - leastBytes;
    expect(shorter.subarray(leastBytes)).toEqual(new Uint8Array(behind).fill(0xa5));
  });

  test('an address does as bytes do', () => {
    const one = createSoftCaller();
    const other = createSoftCaller();
    const exact = sized(struct.sizeBytes, struct.sizeBytes);
    const placed = sized(struct.sizeBytes, struct.sizeBytes);
    const address = other.userMemory.place(placed);
    expect(other.ioctl(request, address)).toBe(one.ioctl(request, exact));
    expect(placed).toEqual(exact);
    expect(other.ioctl(request, address + 4096n)).toBe('EFAULT');
    expect(other.ioctl(request, 0n)).toBe('EFAULT');
    expect(other.ioctl(request, -1n)).toBe('EFAULT');
  });
});

test('a tail of pages is looked at up to its end', () => {
  const { userMemory, ioctl } = createSoftCaller();
  const bytes = sized(3 * 4096, 3 * 4096);
  const address = userMemory.place(bytes);
  const alloc = 0x3b81;
  expect(ioctl(alloc, address)).toBe(0);
  bytes[bytes.length - 1] = 1;
  expect(ioctl(alloc, address)).toBe('E2BIG');
  bytes[bytes.length - 1] = 0;
  bytes.set([1], 1);
  // 3 * 4096 + 256 bytes.
  bytes.set([0, 0x31, 0, 0]);
  expect(ioctl(alloc, address)).toBe('EFAULT');
});

describe('requests that nobody knows', () => {
  test('below the table and behind it nothing is looked at', () => {
    for (const number of [0x00, 0x63, 0x6c, 0x7f, 0x96, 0x9f, 0xa0, 0xff]) {
      expectRefused('ENOTTY', 0x3b00 | number, new Uint8Array());
    }
  });

  test('random requests and bytes: an errno at most, and never a byte elsewhere', () => {
    const bytes = fc.uint8Array({ maxLength: 96 });
    const size = fc.oneof(fc.constantFrom(...iommufdCommands.map((c) => c.struct.sizeBytes)));
    const step = fc.record({
      number: fc.integer({ min: 0, max: 0xff }),
      high: fc.oneof(
        fc.constant(0x3b00),
        fc.nat(0xff_ffff).map((bits) => bits << 8),
      ),
      bytes,
      size: fc.option(size),
      small: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const caller = createSoftCaller();
        const guarded = new Uint8Array(96 + 64);
        for (const { number, high, bytes, size, small } of steps) {
          guarded.fill(0x5a);
          const argument = guarded.subarray(32, 32 + bytes.length);
          // Small fields make ids and flags that exist.
          argument.set(small ? bytes.map((byte, at) => (at % 4 === 0 ? byte & 3 : 0)) : bytes);
          if (size !== null && argument.length >= 4) argument.set([size, 0, 0, 0]);
          const result = caller.ioctl((high | number) >>> 0, argument);
          expect(typeof result === 'string' || result >= 0).toBe(true);
          const before = guarded.subarray(0, 32);
          const behind = guarded.subarray(32 + bytes.length);
          expect(before.every((byte) => byte === 0x5a)).toBe(true);
          expect(behind.every((byte) => byte === 0x5a)).toBe(true);
        }
        caller.iommufd[Symbol.dispose]();
      }),
    );
  });
});
