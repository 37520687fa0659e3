import { describe, expect, test } from 'vitest';
import { limits } from '../base/limits.js';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
} from '../os/memory-types.js';
import { checkMap, type MapRequest, type MapRules } from './memory-check.js';
import { FakeMemory } from './testing/fake-memory.js';
import type { RevocableWindow } from './types.js';

const memory = new FakeMemory();
const rules: MapRules = {
  window: { start: 0x1_0000, end: 0x10_0000 },
  pageBytes: 4096,
  allowUnsealedMemory: false,
};
const seals = F_SEAL_SHRINK;
const good: MapRequest = {
  fd: memory.create(65_536, { seals }),
  offsetBytes: 4096,
  iova: 0x1_0000,
  lengthBytes: 8192,
  access: 'read-write',
};

function codeOf(change: Partial<MapRequest>, changedRules: Partial<MapRules> = {}): string {
  try {
    checkMap(memory, { ...good, ...change }, { ...rules, ...changedRules });
    return 'ok';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('client memory', () => {
  test('a good request comes back as a copy in numbers', () => {
    const request = { ...good, iova: 0x1_0000n, offsetBytes: 4096n, lengthBytes: 8192n };
    const checked = checkMap(memory, request, rules);
    request.iova = 0n;
    expect(checked).toEqual({ ...good });
  });

  test.each([
    ['not shmem', { fd: memory.create(65_536, { isShmem: false }) }, 'MEMORY_NOT_SHMEM'],
    ['unsealed', { fd: memory.create(65_536) }, 'MEMORY_UNSEALED'],
    ['a tmpfs file', { fd: memory.create(65_536, { seals: F_SEAL_SEAL }) }, 'MEMORY_UNSEALED'],
    ['as sealed by QEMU', { fd: memory.create(65_536, { seals: 7 }) }, 'ok'],
    ['read-only fd', { fd: memory.create(65_536, { seals, access: 'read' }) }, 'MEMORY_READ_ONLY'],
    [
      'write-only fd',
      { fd: memory.create(65_536, { seals, access: 'write' }) },
      'MEMORY_READ_ONLY',
    ],
    [
      'read-only fd, device reads',
      { fd: memory.create(65_536, { seals, access: 'read' }), access: 'read' },
      'ok',
    ],
    [
      'WRITE seal',
      { fd: memory.create(65_536, { seals: seals | F_SEAL_WRITE }) },
      'MEMORY_WRITE_SEALED',
    ],
    [
      'FUTURE_WRITE seal',
      { fd: memory.create(65_536, { seals: seals | F_SEAL_FUTURE_WRITE }), access: 'write' },
      'MEMORY_WRITE_SEALED',
    ],
    [
      'WRITE seal, device reads',
      { fd: memory.create(65_536, { seals: seals | F_SEAL_WRITE | F_SEAL_GROW }), access: 'read' },
      'ok',
    ],
    ['up to the end', { offsetBytes: 65_536 - 8192 }, 'ok'],
    ['one byte too small', { fd: memory.create(12_287, { seals }) }, 'MEMORY_TOO_SMALL'],
    ['offset beyond', { offsetBytes: 2n ** 64n - 1n }, 'MEMORY_TOO_SMALL'],
    ['length beyond', { lengthBytes: 2n ** 64n - 1n }, 'MEMORY_TOO_SMALL'],
    ['below the window', { iova: 0xf000 }, 'IOVA_OUTSIDE_WINDOW'],
    ['last of the window', { iova: 0x10_0000 - 8192 }, 'ok'],
    ['one page beyond', { iova: 0x10_0000 - 4096 }, 'IOVA_OUTSIDE_WINDOW'],
    ['iova + length wraps', { iova: 2n ** 64n - 4096n }, 'IOVA_OUTSIDE_WINDOW'],
    ['2^48', { iova: 2n ** 48n }, 'IOVA_OUTSIDE_WINDOW'],
    ['iova unaligned', { iova: 0x1_0001 }, 'IOVA_UNALIGNED'],
    ['length unaligned', { lengthBytes: 4095 }, 'IOVA_UNALIGNED'],
    ['offset unaligned', { offsetBytes: 1 }, 'IOVA_UNALIGNED'],
    ['length 0', { lengthBytes: 0 }, 'INVALID_ARGUMENT'],
    ['negative', { iova: -4096 }, 'INVALID_ARGUMENT'],
    ['fraction', { iova: 0.5 }, 'INVALID_ARGUMENT'],
    ['2^64', { iova: 2n ** 64n }, 'INVALID_ARGUMENT'],
    ['inexact', { iova: 2 ** 53 }, 'INVALID_ARGUMENT'],
    ['no descriptor', { fd: undefined, offsetBytes: 1 }, 'ok'],
  ] as [string, Partial<MapRequest>, string][])('%s: %s', (_name, change, wanted) => {
    expect(codeOf(change)).toBe(wanted);
  });

  test('unsealed memory is admitted only where it is allowed', () => {
    expect(codeOf({ fd: memory.create(65_536) }, { allowUnsealedMemory: true })).toBe('ok');
    const foreign = memory.create(65_536, { isShmem: false });
    expect(codeOf({ fd: foreign }, { allowUnsealedMemory: true })).toBe('MEMORY_NOT_SHMEM');
  });

  test('checks come in their order', () => {
    const window = { start: 0, end: 2 ** 48 };
    // Wrong in everything that follows the named check.
    const rest = { iova: 2n ** 63n + 1n, lengthBytes: 2n ** 62n + 1n, offsetBytes: 1 };
    const all = F_SEAL_WRITE;
    const fds = [
      [memory.create(4096, { isShmem: false, access: 'read' }), 'MEMORY_NOT_SHMEM'],
      [memory.create(4096, { seals: all, access: 'read' }), 'MEMORY_UNSEALED'],
      [memory.create(4096, { seals: seals | all, access: 'read' }), 'MEMORY_READ_ONLY'],
      [memory.create(4096, { seals: seals | all }), 'MEMORY_WRITE_SEALED'],
      [memory.create(4096, { seals }), 'MEMORY_TOO_SMALL'],
    ] as const;
    for (const [fd, wanted] of fds) expect(codeOf({ fd, ...rest }, { window })).toBe(wanted);
    expect(codeOf({ fd: undefined, ...rest }, { window })).toBe('IOVA_OUTSIDE_WINDOW');
    const long = { fd: undefined, iova: 1, lengthBytes: limits.mapBytesMax + 4096 };
    expect(codeOf(long, { window })).toBe('IOVA_UNALIGNED');
    expect(codeOf({ ...long, iova: 0 }, { window })).toBe('QUOTA_EXCEEDED');
    const longest = { ...long, iova: 0, lengthBytes: limits.mapBytesMax };
    expect(codeOf(longest, { window })).toBe('ok');
  });
});

describe('a window of a lease', () => {
  const fd = memory.create(8192, { seals: 0x15 });
  const window = { lengthBytes: 8192 } as RevocableWindow;
  const windowOf: MapRules['windowOf'] = ({ inode }) =>
    inode === memory.identity(fd).inode ? { fd: undefined, window, lengthBytes: 8192 } : undefined;
  const map = { fd, offsetBytes: 0, lengthBytes: 4096 };

  test('is mapped as such, whatever its seals', () => {
    const checked = checkMap(memory, { ...good, ...map }, { ...rules, windowOf });
    expect(checked).toMatchObject({ fd: undefined, window, offsetBytes: 0 });
    expect(codeOf(map)).toBe('MEMORY_UNSEALED');
  });

  test.each([
    ['to its last byte', { offsetBytes: 4096 }, 'ok'],
    ['past its end', { offsetBytes: 4096, lengthBytes: 8192 }, 'MEMORY_TOO_SMALL'],
    ['behind its end', { offsetBytes: 8192 }, 'MEMORY_TOO_SMALL'],
    ['around the end of u64', { offsetBytes: 2n ** 64n - 4096n }, 'MEMORY_TOO_SMALL'],
    ['all of u64', { lengthBytes: 2n ** 64n - 1n }, 'MEMORY_TOO_SMALL'],
    ['off the page', { offsetBytes: 1024 }, 'IOVA_UNALIGNED'],
    ['less than a page', { lengthBytes: 512 }, 'IOVA_UNALIGNED'],
    ['at an odd address', { iova: 0x1_0800 }, 'IOVA_UNALIGNED'],
    ['outside of the IOVA window', { iova: 0x10_0000 }, 'IOVA_OUTSIDE_WINDOW'],
    ['of no length', { lengthBytes: 0 }, 'INVALID_ARGUMENT'],
  ] as const)('is checked %s: %s', (_, change, code) => {
    expect(codeOf({ ...map, ...change }, { windowOf })).toBe(code);
  });

  test('is not asked for before the object is known to be memory', () => {
    const file = memory.create(8192, { isShmem: false });
    const asked: MapRules['windowOf'] = () => {
      throw new TypeError('asked');
    };
    expect(codeOf({ ...map, fd: file }, { windowOf: asked })).toBe('MEMORY_NOT_SHMEM');
  });

  describe('that is no memory', () => {
    const buffer = memory.create(8192, { isShmem: false });
    const own = memory.create(8192, { isShmem: false });
    const windowOfFile: MapRules['windowOfFile'] = (file) =>
      file === buffer ? { fd: own, lengthBytes: 8192 } : undefined;

    test('is mapped by the descriptor of the window', () => {
      const request = { ...good, ...map, fd: buffer };
      const checked = checkMap(memory, request, { ...rules, windowOfFile });
      expect(checked).toEqual({ ...request, fd: own, offsetBytes: 0 });
    });

    test('is told by its file alone: nothing can be asked of a foreign one', () => {
      const asked = () => {
        throw new TypeError('asked');
      };
      const careful = { seals: memory.seals.bind(memory), identity: asked };
      const checked = (fd: typeof own) =>
        checkMap(careful, { ...good, ...map, fd }, { ...rules, windowOfFile, windowOf: asked });
      expect(checked(buffer).fd).toBe(own);
      expect(() => checked(own)).toThrow(expect.objectContaining({ code: 'MEMORY_NOT_SHMEM' }));
    });

    test.each([
      ['to its last byte', { offsetBytes: 4096 }, 'ok'],
      ['past its end', { offsetBytes: 4096, lengthBytes: 8192 }, 'MEMORY_TOO_SMALL'],
      ['around the end of u64', { offsetBytes: 2n ** 64n - 4096n }, 'MEMORY_TOO_SMALL'],
      ['off the page', { offsetBytes: 1024 }, 'IOVA_UNALIGNED'],
      ['outside of the IOVA window', { iova: 0x10_0000 }, 'IOVA_OUTSIDE_WINDOW'],
    ] as const)('is checked %s: %s', (_, change, code) => {
      expect(codeOf({ ...map, fd: buffer, ...change }, { windowOfFile })).toBe(code);
    });
  });
});
