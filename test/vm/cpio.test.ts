import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type CpioEntry, cpioArchive } from './cpio.js';

const entries: readonly CpioEntry[] = [
  { kind: 'folder', path: 'bin', permissions: 0o755 },
  { kind: 'file', path: 'bin/five', permissions: 0o750, bytes: Buffer.from('12345') },
  { kind: 'file', path: 'bin/none', permissions: 0o644, bytes: Buffer.alloc(0) },
  { kind: 'character-device', path: 'console', permissions: 0o600, major: 5, minor: 1 },
];

interface Member {
  readonly name: string;
  readonly mode: number;
  readonly device: string;
  readonly content: string;
}

/** Reads an archive as cpio(5) describes it. */
function membersOf(archive: Buffer): readonly Member[] {
  const members: Member[] = [];
  for (let at = 0; at < archive.length; ) {
    const field = (index: number): number => {
      const from = at + 6 + 8 * index;
      return Number.parseInt(archive.toString('latin1', from, from + 8), 16);
    };
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const [mode, fileBytes, nameBytes] = [field(1), field(6), field(11)];
    const contentAt = (at + 110 + nameBytes + 3) & ~3;
    expect(archive[at + 110 + nameBytes - 1]).toBe(0);
    members.push({
      name: archive.toString('utf8', at + 110, at + 110 + nameBytes - 1),
      mode,
      device: `${field(9)}:${field(10)}`,
      content: archive.toString('utf8', contentAt, contentAt + fileBytes),
    });
    at = (contentAt + fileBytes + 3) & ~3;
  }
  return members;
}

test('an archive holds its entries in order, then the end', () => {
  expect(membersOf(cpioArchive(entries))).toEqual([
    { name: 'bin', mode: 0o040755, device: '0:0', content: '' },
    { name: 'bin/five', mode: 0o100750, device: '0:0', content: '12345' },
    { name: 'bin/none', mode: 0o100644, device: '0:0', content: '' },
    { name: 'console', mode: 0o020600, device: '5:1', content: '' },
    { name: 'TRAILER!!!', mode: 0, device: '0:0', content: '' },
  ]);
});

test('every member begins at a multiple of four', () => {
  for (let length = 0; length < 8; length += 1) {
    const bytes = Buffer.alloc(length, 'a');
    const path = 'x'.repeat(length + 1);
    const archive = cpioArchive([{ kind: 'file', path, permissions: 0o600, bytes }]);
    expect(archive.length % 4).toBe(0);
    expect(membersOf(archive).map(({ content }) => content)).toEqual(['a'.repeat(length), '']);
  }
});

const hasCpio = ['/bin/cpio', '/usr/bin/cpio'].some((path) => existsSync(path));

test.skipIf(!hasCpio)('cpio unpacks it (needs cpio)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-cpio-'));
  try {
    const files = entries.filter(({ kind }) => kind !== 'character-device');
    execFileSync('cpio', ['--extract', '--quiet'], { cwd: folder, input: cpioArchive(files) });
    expect(readFileSync(join(folder, 'bin/five'), 'utf8')).toBe('12345');
    expect(statSync(join(folder, 'bin/five')).mode & 0o777).toBe(0o750);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
