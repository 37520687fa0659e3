// Finding the socket of a broker, in real folders.
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  adminPathOf,
  findControlSocket,
  makeRunDirectory,
  ownRunDirectory,
} from './run-directory.js';

const uid = process.getuid?.() ?? 0;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-run-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the socket of a broker', () => {
  const find = (explicit?: string, environment = {}): string =>
    findControlSocket(explicit, { LESSOR_RUN_DIR: folder, ...environment }, uid);

  test('is the one that was named, in the call before the environment', () => {
    expect(find('/a', { LESSOR_SOCKET: '/b' })).toBe('/a');
    expect(find(undefined, { LESSOR_SOCKET: '/b' })).toBe('/b');
  });

  test('is the only one in the folder, admin sockets apart', () => {
    writeFileSync(join(folder, 'one.sock'), '');
    writeFileSync(join(folder, 'one.admin.sock'), '');
    writeFileSync(join(folder, 'one.sock.epoch'), '');
    expect(find()).toBe(join(folder, 'one.sock'));
    expect(find('', { LESSOR_SOCKET: '' })).toBe(join(folder, 'one.sock'));
  });

  test('is none where there is none', () => {
    const notFound = expect.objectContaining({
      code: 'BROKER_NOT_FOUND',
      errno: 'ENOENT',
      message: expect.stringContaining(folder),
    });
    expect(() => find()).toThrow(notFound);
    expect(() => find(undefined, { LESSOR_RUN_DIR: join(folder, 'none') })).toThrow(
      expect.objectContaining({ code: 'BROKER_NOT_FOUND' }),
    );
  });

  test('is not guessed among several, which are named', () => {
    for (const name of ['one', 'two']) writeFileSync(join(folder, `${name}.sock`), '');
    expect(() => find()).toThrow(
      expect.objectContaining({
        code: 'BROKER_AMBIGUOUS',
        errno: 'EINVAL',
        message: expect.stringMatching(/one\.sock.*two\.sock/),
      }),
    );
  });
});

test('the admin socket stands beside', () => {
  expect(adminPathOf('/run/lessor/a.sock')).toBe('/run/lessor/a.admin.sock');
  expect(adminPathOf('/run/lessor/a')).toBe('/run/lessor/a.admin.sock');
});

test.each([
  [{ LESSOR_RUN_DIR: '/x', XDG_RUNTIME_DIR: '/y' }, 1000, '/x'],
  [{ XDG_RUNTIME_DIR: '/y' }, 1000, '/y/lessor'],
  [{}, 1000, '/tmp/lessor-1000'],
  [{ XDG_RUNTIME_DIR: '/y' }, 0, '/run/lessor'],
])('the folder with %j of uid %i is %s', (environment, ofUid, wanted) => {
  expect(ownRunDirectory(environment, ofUid)).toBe(wanted);
});

describe('the folder for sockets', () => {
  test('is made for its user alone to write in', () => {
    const path = join(folder, 'deep', 'run');
    makeRunDirectory(path, uid);
    makeRunDirectory(path, uid);
    chmodSync(path, 0o775);
    expect(() => makeRunDirectory(path, uid)).toThrow(expect.objectContaining({ code: 'DENIED' }));
    chmodSync(path, 0o755);
    expect(() => makeRunDirectory(path, uid + 1)).toThrow(
      expect.objectContaining({ code: 'DENIED', hint: expect.stringContaining('LESSOR_RUN_DIR') }),
    );
  });

  test('is no link that somebody put there', () => {
    const path = join(folder, 'link');
    symlinkSync(folder, path);
    expect(() => makeRunDirectory(path, uid)).toThrow(expect.objectContaining({ code: 'DENIED' }));
  });
});
