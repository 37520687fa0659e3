import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keepEpoch, nextEpoch } from './epoch.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-epoch-'));
  path = join(folder, 'a.epoch');
});
afterEach(() => rmSync(folder, { recursive: true }));

test('counts from 1 on, past brokers and resets', () => {
  expect(nextEpoch(path)).toBe(1);
  expect(nextEpoch(path)).toBe(2);
  keepEpoch(path, 7);
  expect(nextEpoch(path)).toBe(8);
  expect(readdirSync(folder)).toEqual(['a.epoch']);
});

test.each(['', 'x', '-3', '1.5', '0', '9007199254740992'])('begins again after %j', (text) => {
  writeFileSync(path, text);
  expect(nextEpoch(path)).toBe(1);
});
