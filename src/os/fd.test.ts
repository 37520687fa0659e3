import { fstatSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { closeAll, Fd } from './fd.js';
import { createMemoryOs } from './memory.js';
import { loadNative } from './native.js';

const native = loadNative();
const os = createMemoryOs(native);
const O_CLOEXEC = 0o2000000;

function isOpen(number: number): boolean {
  try {
    fstatSync(number);
    return true;
  } catch {
    return false;
  }
}

describe('a descriptor', () => {
  it('is closed once, by its owner', () => {
    const closed: number[] = [];
    const calls = {
      duplicate: native.duplicate,
      close(fd: number) {
        closed.push(fd);
        return native.close(fd);
      },
    };
    const fd = new Fd(calls, os.create('lessor-test', 0).release());
    const { number } = fd;
    fd.close();
    fd[Symbol.dispose]();
    expect([closed, isOpen(number), fd.isOpen]).toEqual([[number], false, false]);
    expect(() => fd.number).toThrow('use of a closed descriptor');
    expect(() => fd.duplicate()).toThrow('use of a closed descriptor');
  });

  it('stays open when it is released', () => {
    const fd = os.create('lessor-test', 0);
    const number = fd.release();
    fd.close();
    expect(isOpen(number)).toBe(true);
    expect(native.close(number)).toBe(0);
    expect(native.close(number)).toBe(-9);
  });

  it('has duplicates that live on their own and are close-on-exec', () => {
    const fd = os.create('lessor-test', 4096);
    using copy = fd.duplicate();
    fd.close();
    expect(os.identity(copy).lengthBytes).toBe(4096);
    const text = readFileSync(`/proc/self/fdinfo/${copy.number}`, 'utf8');
    expect(Number.parseInt(/flags:\s+(\d+)/.exec(text)![1]!, 8) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(copy.number).toBeGreaterThan(2);
  });

  it.each([-1, 0.5, Number.NaN])('is never %s', (number) => {
    expect(() => new Fd(native, number)).toThrow('descriptor');
  });

  it('is closed with the rest of a list', () => {
    const fds = [os.create('lessor-test', 0), os.create('lessor-test', 0)];
    closeAll(fds);
    expect(fds.map((fd) => fd.isOpen)).toEqual([false, false]);
  });
});
