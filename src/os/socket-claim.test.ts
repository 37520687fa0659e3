// Claiming a socket path, with real sockets.
import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createOs } from './os.js';
import { claimSocketPath } from './socket-claim.js';

const { sockets } = createOs();
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-path-'));
  path = join(folder, 'a.sock');
});
afterEach(() => rmSync(folder, { recursive: true }));

test('a path that nobody uses is free', () => {
  expect(claimSocketPath(sockets, path)).toBe(true);
  expect(existsSync(path)).toBe(false);
});

test('a path on which somebody answers is not, and stays as it is', () => {
  using listener = sockets.listen(path, 0o600, (socket) => socket[Symbol.dispose]());
  expect(claimSocketPath(sockets, path)).toBe(false);
  expect(existsSync(listener.path)).toBe(true);
});

test('the file of one that died is removed', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  // A second name survives the orderly end of the server.
  const left = join(folder, 'left.sock');
  linkSync(path, left);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  expect(existsSync(left)).toBe(true);
  expect(claimSocketPath(sockets, left)).toBe(true);
  expect(existsSync(left)).toBe(false);
});

test.each([
  ['file', () => writeFileSync(path, 'precious')],
  ['folder', () => mkdirSync(path)],
])('a %s is not ours to remove', (_, make) => {
  make();
  // connect(2) on it is refused like on a socket without listener.
  expect(() => claimSocketPath(sockets, path)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', message: `${path} is not a socket` }),
  );
  expect(existsSync(path)).toBe(true);
});

test('a missing folder is named', () => {
  expect(() => claimSocketPath(sockets, join(folder, 'none', 'a.sock'))).toThrow(
    expect.objectContaining({
      code: 'INVALID_ARGUMENT',
      message: `there is no folder ${join(folder, 'none')}`,
    }),
  );
});
