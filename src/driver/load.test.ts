// Which files a broker runs as a driver. Real files; other owners need root, and say so.
import { chmod, chown, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FunctionInfo } from '../function/types.js';
import { loadDriver, matchDriver } from './load.js';
import { mqdmaDriver } from './mqdma/driver.js';

const uid = process.getuid!();
const source = `export default {
  name: 'mine',
  options: { parse: (value) => value },
  match: () => true,
  start: async () => { throw new Error('not here'); },
};`;

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'lessor-driver-')));
});

afterAll(() => rm(folder, { recursive: true }));

async function file(text = source, mode = 0o644): Promise<string> {
  const path = join(folder, `driver${count++}.mjs`);
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

const load = (name: string) => loadDriver(name, { uid, directory: folder });
const code = (name: string) => ({ code: name });

describe('loadDriver', () => {
  it('knows the built-in', async () => {
    expect(await load('mqdma')).toBe(mqdmaDriver);
  });

  it('loads a file by absolute and by relative path', async () => {
    const path = await file();
    expect((await load(path)).name).toBe('mine');
    expect((await load(`./${path.slice(folder.length + 1)}`)).name).toBe('mine');
  });

  it('loads a package', async () => {
    const home = join(folder, 'node_modules', 'a-driver');
    await mkdir(home, { recursive: true });
    await writeFile(join(home, 'package.json'), '{ "main": "main.mjs" }');
    await writeFile(join(home, 'main.mjs'), source);
    for (const path of [home, join(folder, 'node_modules')]) await chmod(path, 0o755);
    await chmod(join(home, 'main.mjs'), 0o644);
    expect((await load('a-driver')).name).toBe('mine');
  });

  it('says what is not there', async () => {
    await expect(load('no-such-driver')).rejects.toMatchObject(code('DRIVER_NOT_FOUND'));
    await expect(load('./no-such-file.mjs')).rejects.toMatchObject(code('DRIVER_NOT_FOUND'));
  });

  it.each([0o664, 0o646, 0o666])('refuses mode %o', async (mode) => {
    await expect(load(await file(source, mode))).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
  });

  it('runs nothing of a refused file', async () => {
    const path = await file(`globalThis.wasRun = true; ${source}`, 0o666);
    await expect(load(path)).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
    expect('wasRun' in globalThis).toBe(false);
  });

  it('refuses what is no regular file', async () => {
    await expect(load(folder)).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
  });

  it('refuses a file below a directory that others can write, through a link too', async () => {
    const open = join(folder, 'open');
    await mkdir(open);
    const path = join(open, 'driver.mjs');
    await writeFile(path, source);
    await chmod(path, 0o644);
    await chmod(open, 0o777);
    await expect(load(path)).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
    const link = join(folder, 'link.mjs');
    await symlink(path, link);
    await expect(load(link)).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
    await chmod(open, 0o1777);
    expect((await load(link)).name).toBe('mine');
  });

  it.skipIf(uid !== 0)('refuses other owners (needs root)', async () => {
    const path = await file();
    await chown(path, 12_345, 0);
    await expect(load(path)).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
    expect((await loadDriver(path, { uid: 12_345 })).name).toBe('mine');
  });

  it('trusts root’s files besides its own', async () => {
    const path = await file();
    const other = loadDriver(path, { uid: 54_321 });
    if (uid === 0) expect((await other).name).toBe('mine');
    else await expect(other).rejects.toMatchObject(code('DRIVER_UNTRUSTED'));
  });

  it.each([
    ['no default export', 'export const driver = 1;'],
    ['a number', 'export default 1;'],
    ['no start', "export default { name: 'x', options: { parse() {} }, match() {} };"],
    ['no options', "export default { name: 'x', options: null, match() {}, start() {} };"],
    [
      'an empty name',
      "export default { name: '', options: { parse() {} }, match() {}, start() {} };",
    ],
    ['nonsense', 'this is not JavaScript'],
    ['a throw', "throw new Error('at import')"],
  ])('refuses %s', async (_, text) => {
    await expect(load(await file(text))).rejects.toMatchObject(code('DRIVER_INVALID'));
  });
});

describe('matchDriver', () => {
  const info = { name: 'f0', vendorId: 0x1234 } as FunctionInfo;

  it.each([
    ['edu', 0x11e8],
    ['mqdma', 0x6d71],
  ])('finds %s by its ids', async (name, deviceId) => {
    expect(matchDriver({ ...info, deviceId })).toBe(await load(name));
  });

  it('says what does not fit any', () => {
    expect(() => matchDriver({ ...info, deviceId: 0x1 })).toThrow(
      expect.objectContaining({
        ...code('DRIVER_NOT_FOUND'),
        message: expect.stringContaining('0x1234:0x1'),
      }),
    );
  });
});
