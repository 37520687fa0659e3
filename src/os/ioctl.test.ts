import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createIoctlOs } from './ioctl.js';
import { createMemoryOs } from './memory.js';
import { loadNative } from './native.js';
import { errnoThrown } from './testing/memory-contract.js';

const native = loadNative();
const ioctl = createIoctlOs(native);
const memory = createMemoryOs(native);

// asm-generic/ioctls.h, fcntl.h
const FIONREAD = 0x541b;
const FIONCLEX = 0x5450;
const FIOCLEX = 0x5451;
const O_WRONLY = 1;
const O_CREAT = 0x40;
const O_CLOEXEC = 0o2000000;

function flagsOf(fd: { readonly number: number }): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd.number}`, 'utf8');
  return Number.parseInt(/flags:\s+(\d+)/.exec(text)?.[1] ?? '', 8);
}

describe('ioctl', () => {
  it('writes the answer into the structure, and nowhere else', () => {
    using fd = memory.create('lessor-test', 0x12345);
    const bytes = new Uint8Array(12).fill(0xaa);
    expect(ioctl.ioctl(fd, FIONREAD, bytes.subarray(4, 8))).toBe(0);
    expect([...new Uint32Array(bytes.buffer)]).toEqual([0xaaaa_aaaa, 0x12345, 0xaaaa_aaaa]);
  });

  it('passes a number by value', () => {
    using fd = memory.create('lessor-test', 4096);
    ioctl.ioctl(fd, FIONCLEX, 0);
    expect(flagsOf(fd) & O_CLOEXEC).toBe(0);
    ioctl.ioctl(fd, FIOCLEX, 0);
    expect(flagsOf(fd) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(errnoThrown(() => ioctl.ioctl(fd, FIONREAD, 0))).toBe('EFAULT');
  });

  it('fails with the errno of the call', () => {
    using fd = ioctl.open('/dev/null', 0);
    expect(errnoThrown(() => ioctl.ioctl(fd, 0x1234, new Uint8Array(8)))).toBe('ENOTTY');
  });

  it('refuses what is neither a structure nor a whole number', () => {
    using fd = memory.create('lessor-test', 4096);
    const wrong = native as unknown as Record<string, (...args: unknown[]) => number>;
    expect(
      [undefined, null, 'x', {}, new Uint8Array(0)].map((argument) =>
        wrong.ioctl!(fd.number, FIONREAD, argument),
      ),
    ).toEqual([-22, -22, -22, -22, -22]);
    for (const argument of [-1, 0.5, Number.NaN]) {
      expect(errnoThrown(() => ioctl.ioctl(fd, FIOCLEX, argument))).toBe('EINVAL');
      expect(errnoThrown(() => ioctl.ioctl(fd, argument, 0))).toBe('EINVAL');
    }
  });
});

describe('open', () => {
  it('opens with the flags given and close-on-exec', () => {
    using fd = ioctl.open('/dev/null', O_WRONLY);
    expect(flagsOf(fd) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(memory.identity(fd).access).toBe('write');
  });

  it('fails with the errno of the call', () => {
    expect(errnoThrown(() => ioctl.open('/nowhere/at/all', 0))).toBe('ENOENT');
    expect(errnoThrown(() => ioctl.open('/dev/null/x', 0))).toBe('ENOTDIR');
    expect(errnoThrown(() => ioctl.open('/dev/null\0.txt', 0))).toBe('EINVAL');
  });

  it('creates nothing', () => {
    const path = `/tmp/lessor-test-${process.pid}`;
    expect(errnoThrown(() => ioctl.open(path, O_CREAT | O_WRONLY))).toBe('EINVAL');
    expect(errnoThrown(() => ioctl.open(path, 0))).toBe('ENOENT');
  });
});
