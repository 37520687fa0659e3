import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { MiB } from '../base/units.js';
import { Fd } from './fd.js';
import { createMemoryOs } from './memory.js';
import { loadNative } from './native.js';
import { describeMemoryOs, errnoThrown } from './testing/memory-contract.js';

const native = loadNative();
const os = createMemoryOs(native);

describeMemoryOs('memory of the operating system', () => createMemoryOs(native));

function openDescriptor(path: string, flags: string): Fd {
  return new Fd(native, openSync(path, flags));
}

function mappingsNamed(name: string): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => line.includes(`/memfd:${name}`)).length;
}

describe('descriptors that are no memory', () => {
  it('are told by F_GET_SEALS', () => {
    using zero = openDescriptor('/dev/zero', 'r+');
    using file = openDescriptor('/proc/self/stat', 'r');
    expect([zero, file].map((fd) => errnoThrown(() => os.seals(fd)))).toEqual(['EINVAL', 'EINVAL']);
  });

  it('show their access mode', () => {
    using readable = openDescriptor('/dev/null', 'r');
    using writable = openDescriptor('/dev/null', 'a');
    expect([os.identity(readable).access, os.identity(writable).access]).toEqual(['read', 'write']);
  });

  it('fail with EBADF when closed behind our back', () => {
    const fd = os.create('lessor-test', 4096);
    closeSync(fd.number);
    const spec = { offsetBytes: 0, lengthBytes: 4096, writable: true };
    const attempts = [
      () => os.seals(fd),
      () => os.addSeals(fd, 1),
      () => os.identity(fd),
      () => os.truncate(fd, 0),
      () => os.setMode(fd, 0o400),
      () => os.map(fd, spec),
      () => fd.duplicate(),
    ];
    expect(attempts.map(errnoThrown)).toEqual(attempts.map(() => 'EBADF'));
    expect(errnoThrown(() => os.reopenReadOnly(fd))).toBe('ENOENT');
    fd.release();
  });
});

describe('advice to use huge pages', () => {
  it.skipIf(!existsSync('/sys/kernel/mm/transparent_hugepage'))('reaches the kernel', () => {
    const advised = (): number =>
      readFileSync('/proc/self/smaps', 'utf8')
        .split('\n')
        .filter((line) => /^VmFlags:.* hg( |$)/.test(line)).length;
    const before = advised();
    const view = new Int32Array(new SharedArrayBuffer(8 * MiB));
    os.adviseHugePages(view.subarray(MiB));
    expect(advised()).toBe(before + 1);
    expect(view[0]).toBe(0);
  });

  it('is nothing to a view without a whole page', () => {
    os.adviseHugePages(new Int32Array(4));
    expect(native.adviseHugePages(new Int32Array(0))).toBeLessThan(0);
  });
});

describe('the addon', () => {
  it('answers arguments of the wrong type with an errno', () => {
    const wrong = native as unknown as Record<string, (...args: unknown[]) => unknown>;
    using fd = os.create('lessor-test', 4096);
    expect(wrong.map!()).toBe(-9);
    expect(wrong.map!(fd.number, 0, 4096, true, 1)).toBe(-22);
    expect(wrong.map!(fd.number, 0, 4096, true, 3, new Int32Array(1))).toBe(-22);
    expect(wrong.map!(fd.number, 0, 4096, true, 0, new Int8Array(3))).toBe(-22);
    expect(wrong.unmap!()).toBe(-22);
    expect(wrong.unmap!(new ArrayBuffer(8))).toBe(-22);
    expect(wrong.poison!({})).toBe(-22);
    expect(wrong.fstat!(fd.number, new BigInt64Array(2))).toBe(-22);
    expect(wrong.memfdCreate!(7, 1)).toBe(-22);
    expect(wrong.memfdCreate!('lessor-test', 0x4000)).toBe(-22);
    expect(wrong.arenaCreate!('much')).toBe(-22);
    expect(wrong.arenaBuffer!(99)).toBe(-2);
    expect(wrong.arenaPlace!(99, 0, fd.number, 0, 4096, true, 0)).toBe(-22);
    expect(wrong.arenaClear!(0)).toBe(-22);
  });

  it('gives way where sealed execution is demanded', () => {
    const EACCES = 13;
    const MFD_NOEXEC_SEAL = 8;
    const strict = createMemoryOs({
      ...native,
      memfdCreate: (name, flags) =>
        flags & MFD_NOEXEC_SEAL ? native.memfdCreate(name, flags) : -EACCES,
    });
    using fd = strict.create('lessor-test', 4096);
    expect(strict.seals(fd)).toBe(0x20);
  });

  it('closes the descriptor when the length is refused', () => {
    const closed: number[] = [];
    const failing = createMemoryOs({
      ...native,
      ftruncate: () => -27,
      close(fd) {
        closed.push(fd);
        return native.close(fd);
      },
    });
    expect(errnoThrown(() => failing.create('lessor-test', 4096))).toBe('EFBIG');
    expect(closed).toHaveLength(1);
  });

  it('unmaps at dispose, and otherwise when the buffer is collected', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    using fd = os.create('lessor-backstop', 4096);
    const spec = { offsetBytes: 0, lengthBytes: 4096, writable: true, guard: 'ones' } as const;
    const mapping = os.map(fd, spec);
    expect(mappingsNamed('lessor-backstop')).toBe(1);
    mapping[Symbol.dispose]();
    expect(mappingsNamed('lessor-backstop')).toBe(0);
    for (let count = 0; count < 20; count++) os.map(fd, spec);
    expect(mappingsNamed('lessor-backstop')).toBe(20);
    for (let turn = 0; turn < 50 && mappingsNamed('lessor-backstop') > 0; turn++) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(mappingsNamed('lessor-backstop')).toBe(0);
  });
});
