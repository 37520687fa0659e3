import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createFilesOs } from './files.js';
import { createIoctlOs } from './ioctl.js';
import { loadNative } from './native.js';

const native = loadNative();
const files = createFilesOs(native);
const ioctl = createIoctlOs(native);

describe('files', () => {
  test('an open directory is listed by its descriptor, however many names it has', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lessor-files-'));
    const names = Array.from({ length: 2000 }, (_, index) => `name-${index}`);
    for (const name of names) writeFileSync(join(folder, name), '');
    using fd = ioctl.open(folder, 0o200000);
    expect(files.listDirectory(fd).sort()).toEqual([...names].sort());
    rmSync(folder, { recursive: true });
  });

  test('a file that is no directory is ENOTDIR', () => {
    using fd = ioctl.open('/proc/self/maps', 0);
    expect(() => files.listDirectory(fd)).toThrow(/ENOTDIR/);
  });

  test('a file of /proc is read to its end', () => {
    using fd = ioctl.open('/proc/self/maps', 0);
    expect(files.readAll(fd)).toContain('[stack]');
  });
});
