import { closeSync, existsSync, mkdtempSync, openSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { FloorTools, Sampler } from './floor.js';

describe('C floors', () => {
  const tools = new FloorTools();
  const folder = mkdtempSync(join(tmpdir(), 'lessor-floor-'));
  const path = join(folder, 'shared');
  const fd = openSync(path, 'w+');
  truncateSync(path, 2 * 1024 * 1024);
  afterAll(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
    tools[Symbol.dispose]();
  });

  it.each([
    ['registers', 'load'],
    ['registers', 'store'],
    ['copy', 'copy'],
  ])('%s takes samples of %s', async (program, operation) => {
    await using floor = tools.floor(program, [], { sharedFd: fd });
    const samples = await floor.sample(operation, 3, 1000);
    expect(samples).toHaveLength(3);
    for (const ns of samples) expect(ns).toBeGreaterThan(0);
  });

  it('says when a floor ended instead of waiting for it', async () => {
    await using floor = tools.floor('registers', [], { sharedFd: fd });
    await expect(floor.sample('nothing', 1, 1)).rejects.toThrow('ended');
  });

  it('runs on the CPU it was given', async () => {
    const command = ['grep', 'Cpus_allowed_list', '/proc/self/status'];
    await using pinned = new Sampler(tools.spawn(command, { cpuIndex: 0 }));
    expect(await pinned.line()).toMatch(/^Cpus_allowed_list:\s+\d+$/);
  });

  it('refuses a CPU that is not there', () => {
    expect(() => tools.floor('registers', [], { cpuIndex: 4096, sharedFd: fd })).toThrow(
      '4097 CPUs',
    );
  });

  it('removes what it compiled', () => {
    const own = new FloorTools();
    const program = own.program('pin');
    expect(existsSync(program)).toBe(true);
    own[Symbol.dispose]();
    expect(existsSync(dirname(program))).toBe(false);
  });
});
