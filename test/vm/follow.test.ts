import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Follower } from './follow.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-follow-'));
  path = join(folder, 'file');
  writeFileSync(path, '');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('what is appended comes in order, and the rest at the end', async () => {
  let seen = '';
  const follower = new Follower(path, (bytes) => {
    seen += String(bytes);
  });
  appendFileSync(path, 'one ');
  await vi.waitFor(() => expect(seen).toBe('one '));
  appendFileSync(path, 'two '.repeat(50_000));
  follower.finish();
  expect(seen).toBe(`one ${'two '.repeat(50_000)}`);
});

test('a file that was emptied is read from its beginning', async () => {
  let seen = '';
  const follower = new Follower(path, (bytes) => {
    seen += String(bytes);
  });
  appendFileSync(path, 'longer');
  await vi.waitFor(() => expect(seen).toBe('longer'));
  writeFileSync(path, 'new');
  follower.finish();
  expect(seen).toBe('longernew');
});
