import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cachedFolder, cacheRoot } from './cache.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lessor-cache-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const silent = (): void => undefined;
/** A number that no process has. */
const nobody = 2 ** 30;

async function fill(folder: string): Promise<void> {
  writeFileSync(join(folder, 'file'), 'content');
}

test('the cache is where the environment says', () => {
  expect(cacheRoot({ LESSOR_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
  expect(cacheRoot({ XDG_CACHE_HOME: '/b' })).toBe('/b/lessor');
  expect(cacheRoot({ LESSOR_CACHE: '', XDG_CACHE_HOME: '' })).toMatch(/\/\.cache\/lessor$/);
});

test('a folder is built once', async () => {
  let builds = 0;
  const build = async (folder: string): Promise<void> => {
    builds += 1;
    await fill(folder);
  };
  const path = await cachedFolder(root, 'tree', build, silent);
  expect(await cachedFolder(root, 'tree', build, silent)).toBe(path);
  expect(existsSync(join(path, 'file'))).toBe(true);
  expect(builds).toBe(1);
  expect(readdirSync(root)).toEqual(['tree']);
});

test('a build that fails leaves nothing', async () => {
  const build = async (folder: string): Promise<void> => {
    await fill(folder);
    throw new Error('no space');
  };
  await expect(cachedFolder(root, 'tree', build, silent)).rejects.toThrow('no space');
  expect(readdirSync(root)).toEqual([]);
});

test('what a dead process left is taken over and removed', async () => {
  writeFileSync(join(root, 'tree.lock'), String(nobody));
  mkdirSync(join(root, `tree.tmp-${nobody}`));
  mkdirSync(join(root, `tree.tmp-${process.pid}0000000`));
  mkdirSync(join(root, 'tree.tmp-1'));
  await cachedFolder(root, 'tree', fill, silent);
  expect(readdirSync(root).sort()).toEqual(['tree', 'tree.tmp-1']);
});

test('a second run waits for the first and takes what it made', async () => {
  let builds = 0;
  const build = async (folder: string): Promise<void> => {
    builds += 1;
    await fill(folder);
  };
  const told: string[] = [];
  writeFileSync(join(root, 'tree.lock'), String(process.pid));
  const second = cachedFolder(root, 'tree', build, (text) => told.push(text));
  expect(told).toEqual([`waiting for another run (${process.pid}) that makes it`]);
  mkdirSync(join(root, 'tree'));
  rmSync(join(root, 'tree.lock'));
  await second;
  expect(builds).toBe(0);
});
