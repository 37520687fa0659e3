// What every MemoryOs must do, as a suite for vitest.
import { describe, expect, it } from 'vitest';
import type { Errno } from '../../base/errno.js';
import { isOsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  type MapSpec,
  type MemoryOs,
} from '../memory-types.js';

/** The errno that `attempt` fails with, or undefined when it does not fail. */
export function errnoThrown(attempt: () => unknown): Errno | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (!isOsError(error)) throw error;
    return error.errno;
  }
}

const allOnes = 0xffff_ffff;

function specOf(lengthBytes: number, guard?: MapSpec['guard']): MapSpec {
  const spec = { offsetBytes: 0, lengthBytes, writable: true };
  return guard === undefined ? spec : { ...spec, guard };
}

function describeObjects(os: MemoryOs): void {
  describe('objects', () => {
    it('are as long as asked and start without seals', () => {
      using fd = os.create('lessor-test', 12_288);
      expect(os.identity(fd)).toMatchObject({ lengthBytes: 12_288, access: 'read-write' });
      expect(os.seals(fd) & 0x1f).toBe(0);
    });

    it('are told apart by device and inode', () => {
      using one = os.create('lessor-test', 4096);
      using other = os.create('lessor-test', 4096);
      using copy = one.duplicate();
      const { device, inode } = os.identity(one);
      expect(os.identity(copy)).toMatchObject({ device, inode });
      expect(os.identity(other).inode).not.toBe(inode);
    });

    it('are one open file by a copied descriptor, not by one that was opened again', (context) => {
      using one = os.create('lessor-test', 4096);
      if (!os.isSameFile(one, one)) context.skip('Linux before 6.10 cannot tell');
      using copy = one.duplicate();
      using again = os.reopenReadOnly(one);
      using other = os.create('lessor-test', 4096);
      expect([copy, again, other].map((fd) => os.isSameFile(one, fd))).toEqual([
        true,
        false,
        false,
      ]);
    });

    it('keep the seals that were added', () => {
      using fd = os.create('lessor-test', 4096);
      os.addSeals(fd, F_SEAL_GROW);
      expect(errnoThrown(() => os.truncate(fd, 8192))).toBe('EPERM');
      os.addSeals(fd, F_SEAL_SHRINK | F_SEAL_SEAL);
      expect(os.seals(fd) & 0x1f).toBe(F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
      expect(errnoThrown(() => os.truncate(fd, 0))).toBe('EPERM');
      expect(errnoThrown(() => os.addSeals(fd, F_SEAL_WRITE))).toBe('EPERM');
    });

    it('cannot be sealed against writing while mapped writable, except for the future', () => {
      using fd = os.create('lessor-test', 4096);
      using mapping = os.map(fd, specOf(4096));
      expect(errnoThrown(() => os.addSeals(fd, F_SEAL_WRITE))).toBe('EBUSY');
      os.addSeals(fd, F_SEAL_FUTURE_WRITE);
      expect(errnoThrown(() => os.map(fd, specOf(4096)))).toBe('EPERM');
      new Uint32Array(mapping.buffer)[0] = 7;
      using readable = os.map(fd, { ...specOf(4096), writable: false });
      expect(new Uint32Array(readable.buffer)[0]).toBe(7);
    });

    it('cannot be mapped writable or shrunk through a read-only descriptor', () => {
      using fd = os.create('lessor-test', 4096);
      os.setMode(fd, 0o400);
      using readOnly = os.reopenReadOnly(fd);
      expect(os.identity(readOnly).access).toBe('read');
      expect(errnoThrown(() => os.map(readOnly, specOf(4096)))).toBe('EACCES');
      expect(errnoThrown(() => os.truncate(readOnly, 0))).toBe('EINVAL');
      using mapping = os.map(readOnly, { ...specOf(4096), writable: false });
      expect(mapping.lengthBytes).toBe(4096);
    });

    it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuse the length %s', (lengthBytes) => {
      expect(errnoThrown(() => os.create('lessor-test', lengthBytes))).toBe('EINVAL');
    });

    it('refuse names that the kernel would cut', () => {
      expect(errnoThrown(() => os.create('a\0b', 4096))).toBe('EINVAL');
      expect(errnoThrown(() => os.create('a'.repeat(250), 4096))).toBe('EINVAL');
    });
  });
}

function describeMappings(os: MemoryOs): void {
  describe('mappings', () => {
    it('share one memory', () => {
      using fd = os.create('lessor-test', 8192);
      using whole = os.map(fd, specOf(8192));
      using second = os.map(fd, { ...specOf(4096), offsetBytes: 4096 });
      new Uint32Array(whole.buffer)[1024] = 42;
      expect(new Uint32Array(second.buffer)[0]).toBe(42);
    });

    it('are empty once disposed, which may happen twice', () => {
      using fd = os.create('lessor-test', 4096);
      const mapping = os.map(fd, specOf(4096, 'ones'));
      const words = new Uint32Array(mapping.buffer);
      mapping[Symbol.dispose]();
      mapping[Symbol.dispose]();
      expect([words.length, words[0], mapping.buffer.byteLength]).toEqual([0, undefined, 0]);
      expect(() => Atomics.load(words, 0)).toThrow();
      expect(mapping.revoked).toBe(false);
      mapping.poison();
      expect(mapping.revoked).toBe(false);
    });

    it('refuse what mmap refuses', () => {
      using fd = os.create('lessor-test', 4096);
      const refused = (change: Partial<MapSpec>) =>
        errnoThrown(() => os.map(fd, { ...specOf(4096), ...change })[Symbol.dispose]());
      expect(refused({ lengthBytes: 0 })).toBe('EINVAL');
      expect(refused({ offsetBytes: 1 })).toBe('EINVAL');
      expect(refused({ offsetBytes: -4096 })).toBe('EINVAL');
      expect(refused({ lengthBytes: Number.NaN })).toBe('EINVAL');
      expect(refused({ lengthBytes: 5 * 2 ** 30 })).toBe('EFBIG');
      expect(refused({})).toBeUndefined();
    });

    it('are windows up to the limit and not past it', () => {
      using fd = os.create('lessor-test', limits.windowBytesMax + os.pageBytes);
      os.map(fd, specOf(limits.windowBytesMax, 'ones'))[Symbol.dispose]();
      const tooLarge = specOf(limits.windowBytesMax + os.pageBytes, 'ones');
      expect(errnoThrown(() => os.map(fd, tooLarge))).toBe('EINVAL');
      os.map(fd, { ...tooLarge, guard: 'zeros' })[Symbol.dispose]();
    });

    it('read ones after poison, keep stores to themselves, and say so', () => {
      using fd = os.create('lessor-test', 8192);
      using poisoned = os.map(fd, specOf(8192));
      using other = os.map(fd, specOf(8192));
      poisoned.poison();
      const words = new Uint32Array(poisoned.buffer);
      expect([words[0], words[2047], poisoned.revoked]).toEqual([allOnes, allOnes, true]);
      words[0] = 5;
      expect([words[0], new Uint32Array(other.buffer)[0], other.revoked]).toEqual([5, 0, false]);
    });
  });
}

/** Describes the contract; `create` is called once. */
export function describeMemoryOs(name: string, create: () => MemoryOs): void {
  describe(name, () => {
    const os = create();
    describeObjects(os);
    describeMappings(os);
    it('takes the use of a closed descriptor for a bug of ours', () => {
      const fd = os.create('lessor-test', 0);
      fd.close();
      expect(() => os.seals(fd)).toThrow('closed descriptor');
    });
  });
}
