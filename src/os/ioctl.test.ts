import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createIoctlOs } from './ioctl.js';
import { createMemoryOs } from './memory.js';
import { loadNative } from './native.js';
import { createOs } from './os.js';
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

/** By the kernel's own view of this process. */
function memoryAt(address: bigint, lengthBytes: number): Uint8Array {
  const file = openSync('/proc/self/mem', 'r');
  try {
    const bytes = new Uint8Array(lengthBytes);
    readSync(file, bytes, 0, lengthBytes, address);
    return bytes;
  } finally {
    closeSync(file);
  }
}

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

describe('addressOf', () => {
  it('is where the bytes are, of a view and of its buffer alike', () => {
    const bytes = new Uint8Array(4096);
    const start = ioctl.addressOf(bytes);
    expect(start).toBeGreaterThan(4096n);
    expect(ioctl.addressOf(bytes.subarray(17))).toBe(start + 17n);
    expect(ioctl.addressOf(bytes)).toBe(start);
  });

  it('stays the same for a small array, which the engine could have moved', () => {
    const small = Uint8Array.of(1, 2, 3);
    const start = ioctl.addressOf(small);
    const garbage = Array.from({ length: 200_000 }, (_, i) => ({ i, text: `${i}` }));
    expect(garbage).toHaveLength(200_000);
    expect(ioctl.addressOf(small)).toBe(start);
    small[1] = 9;
    expect([...memoryAt(start, 3)]).toEqual([1, 9, 3]);
  });

  it('refuses what has no bytes', () => {
    expect(errnoThrown(() => ioctl.addressOf(new Uint8Array(0)))).toBe('EINVAL');
    expect(native.addressOf('text' as never)).toBe(-22);
  });
});

describe('read, write and isReadable', () => {
  it('move bytes, and say how many', () => {
    using fd = memory.create('lessor-test', 0);
    expect(ioctl.write(fd, Uint8Array.of(1, 2, 3))).toBe(3);
    using again = ioctl.open(`/proc/self/fd/${fd.number}`, 0);
    const into = new Uint8Array(5).fill(0xaa);
    expect(ioctl.read(again, into)).toBe(3);
    expect([...into]).toEqual([1, 2, 3, 0xaa, 0xaa]);
    expect(ioctl.read(again, into)).toBe(0);
  });

  it('fail with the errno of the call', () => {
    using fd = ioctl.open('/dev/null', 0);
    expect(errnoThrown(() => ioctl.write(fd, new Uint8Array(1)))).toBe('EBADF');
    using folder = ioctl.open('/', 0);
    expect(errnoThrown(() => ioctl.read(folder, new Uint8Array(1)))).toBe('EISDIR');
  });

  it('say at once whether there is something to read', () => {
    const events = createOs(native).events;
    using fd = events.createEventFd();
    expect(ioctl.isReadable(fd)).toBe(false);
    ioctl.write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
    expect(ioctl.isReadable(fd)).toBe(true);
    events.drain(fd);
    expect(ioctl.isReadable(fd)).toBe(false);
    const number = fd.duplicate().release();
    native.close(number);
    expect(errnoThrown(() => ioctl.isReadable(ioctl.adopt(number)))).toBe('EBADF');
  });

  it('give an adopted descriptor an owner that closes it', () => {
    using fd = memory.create('lessor-test', 0);
    const number = fd.duplicate().release();
    ioctl.adopt(number).close();
    expect(native.close(number)).toBe(-9);
  });
});

describe('readAt and writeAt', () => {
  it('move bytes at an offset past 32 bits, in one call', () => {
    using fd = memory.create('lessor-test', 0);
    const at = 7 * 2 ** 40 + 4;
    expect(ioctl.writeAt(fd, Uint8Array.of(1, 2, 3), at)).toBe(3);
    expect(memory.identity(fd).lengthBytes).toBe(at + 3);
    const into = new Uint8Array(5).fill(0xaa);
    expect(ioctl.readAt(fd, into.subarray(1), at + 1)).toBe(2);
    expect([...into]).toEqual([0xaa, 2, 3, 0xaa, 0xaa]);
  });

  it('fail with the errno of the call, and refuse offsets that are none', () => {
    using fd = ioctl.open('/dev/null', 0);
    expect(errnoThrown(() => ioctl.writeAt(fd, new Uint8Array(1), 0))).toBe('EBADF');
    using events = createOs(native).events.createEventFd();
    expect(errnoThrown(() => ioctl.readAt(events, new Uint8Array(8), 0))).toBe('ESPIPE');
    for (const offset of [-1, 0.5, 2 ** 53]) {
      expect(errnoThrown(() => ioctl.readAt(fd, new Uint8Array(1), offset))).toBe('EINVAL');
      expect(errnoThrown(() => ioctl.writeAt(fd, new Uint8Array(1), offset))).toBe('EINVAL');
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
