// One broker per path, with real sockets.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
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

test('a path on which somebody answers is not', () => {
  using _ = os.sockets.listen(path, 0o600, (socket) => socket[Symbol.dispose]());
  expect(() => claimSocketPath(os, path)).toThrow(
    expect.objectContaining({ code: 'BROKER_RUNNING', errno: 'EADDRINUSE' }),
  );
});
