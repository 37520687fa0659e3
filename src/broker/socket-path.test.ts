// Claiming a socket path, with real sockets.
import { existsSync, linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createOs } from '../os/index.js';
import { claimSocketPath } from './socket-path.js';

const os = createOs();
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-path-'));
  path = join(folder, 'a.sock');
});
afterEach(() => rmSync(folder, { recursive: true }));

test('a path that nobody uses is free', () => {
  claimSocketPath(os, path);
  expect(existsSync(path)).toBe(false);
});

test('a path on which somebody answers is not, and stays as it is', () => {
  using listener = os.sockets.listen(path, 0o600, (socket) => socket[Symbol.dispose]());
  expect(() => claimSocketPath(os, path)).toThrow(
    expect.objectContaining({ code: 'BROKER_RUNNING', errno: 'EADDRINUSE' }),
  );
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
  claimSocketPath(os, left);
  expect(existsSync(left)).toBe(false);
});

test('a file that is no socket is not ours to remove', () => {
  writeFileSync(path, 'precious');
  // connect(2) on it is refused like on a socket without listener.
  expect(() => claimSocketPath(os, path)).toThrow(/not a socket/);
  expect(existsSync(path)).toBe(true);
});
