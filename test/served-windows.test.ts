// Leases of a served function whose windows clients map: a device, a broker and clients, each a
// process of its own.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AdminClient } from '../src/client/admin.js';
import type { Client } from '../src/client/client.js';
import { connect, connectAdmin } from '../src/client/index.js';
import type { Lease } from '../src/client/lease.js';
import { Queue } from '../src/client/mqdma/index.js';
import { adminPathOf } from '../src/client/run-directory.js';
import type { MappedWindow } from '../src/client/window.js';
import { Bench, eventually, patienceMs, type Running } from './support/lessor.js';

const bench = new Bench();
const path = join(bench.directory, 'device.sock');
const ones = 0xffff_ffff;
const mebibyte = 1024 ** 2;
/** A word of a queue's page that no register uses. */
const spareWord = 900;

let device: Running;
let broker: Running;
let client: Client;
let admin: AdminClient;
const leases: Lease[] = [];

async function serveDevice(): Promise<void> {
  rmSync(path, { force: true });
  const words = ['--queues', '4', '--detachable-windows', '--listen', path, '--json'];
  device = bench.start(['device', 'serve', 'mqdma', ...words]);
  await device.saying(/\n/);
}

async function acquire(options: Partial<Parameters<Client['acquire']>[0]> = {}): Promise<Lease> {
  const lease = await client.acquire({ memoryBytes: mebibyte, ...options });
  leases.push(lease);
  return lease;
}

function mappedWindow(lease: Lease, name: string): MappedWindow {
  const window = lease.window(name);
  if (window.kind !== 'mapped') throw new Error(`${name} is not mapped`);
  return window;
}

/** Nops, and a copy whose every byte is looked at; completions are polled in memory. */
async function work(lease: Lease): Promise<void> {
  const queue = await Queue.create(lease, { entries: 16 });
  const memory = await lease.memory.allocate(65_536);
  for (let round = 0; round < 20; round += 1) await queue.nop();
  memory.u8.subarray(0, 20_000).fill(0x5a);
  await queue.copy({ source: memory.iova, destination: memory.iova + 32_768, lengthBytes: 20_000 });
  expect(memory.u8.subarray(32_768, 52_768).every((byte) => byte === 0x5a)).toBe(true);
  expect(memory.u8[52_768]).toBe(0);
  await queue[Symbol.asyncDispose]();
}

beforeAll(async () => {
  await serveDevice();
  broker = bench.start(['serve', '--json', '--function', `vfio-user:${path}`]);
  const [line] = await broker.saying(/\{.*\}/);
  const { socket } = JSON.parse(line) as { socket: string };
  client = await connect({ socket });
  admin = await connectAdmin({ socket: adminPathOf(socket) });
}, patienceMs);

afterEach(async () => {
  for (const lease of leases.splice(0)) await lease.close();
});

afterAll(async () => {
  client.close();
  admin.close();
  const end = await broker.stop();
  expect(end.stderr).not.toMatch(/a bug in lessor/);
  expect(end.status).toBe(0);
  expect((await device.stop()).stderr).not.toMatch(/a bug in lessor/);
  await bench.clear();
}, patienceMs);

test('a window is no DMA target for another lease', async () => {
  const [owner, mapper] = [await acquire(), await acquire()];
  using exported = await owner.exportWindow('queue');
  await expect(mapper.map(exported)).rejects.toMatchObject({ errno: 'EOPNOTSUPP' });
  await work(mapper);
});

describe('a lease with mapped windows of a served function', { timeout: patienceMs }, () => {
  test('is labelled server and kernel, and works through its mappings', async () => {
    const lease = await acquire({ mapped: true });
    expect(lease.record).toMatchObject({ isolation: 'server', revocation: 'kernel' });
    expect(lease.windows.map(({ name, kind }) => [name, kind])).toEqual([
      ['queue', 'mapped'],
      ['status', 'mapped'],
    ]);
    await work(lease);
    // A message and the mapping reach the same memory.
    const { u32 } = mappedWindow(lease, 'queue');
    u32[spareWord] = 0x1234;
    expect(await lease.window('queue').read32(4 * spareWord)).toBe(0x1234);
    await mappedWindow(lease, 'queue').writeMessage32(4 * spareWord, 0x5678);
    expect(u32[spareWord]).toBe(0x5678);
  });

  test('may still be mediated, for who asks', async () => {
    const lease = await acquire({ revocation: 'mediated' });
    expect(lease.record).toMatchObject({ isolation: 'server', revocation: 'mediated' });
    await work(lease);
  });

  test('reads ones once it is revoked; its slice and its stores are of no one else', async () => {
    const [one, other] = [await acquire({ mapped: true }), await acquire({ mapped: true })];
    const { slice } = one.record;
    const window = mappedWindow(one, 'queue');
    window.u32[spareWord] = 7;
    await admin.revoke(one.record.id, { reason: 'test' });
    expect((await one.ended).reason).toContain('revoked');
    expect(window.u32[spareWord]).toBe(ones);
    expect(mappedWindow(one, 'status').u32[0]).toBe(ones);
    expect(window.revoked).toBe(true);
    await work(other);
    const next = await acquire({ mapped: true, slice, waitMs: patienceMs });
    expect(next.record.slice).toBe(slice);
    const fresh = mappedWindow(next, 'queue');
    expect(fresh.u32[spareWord]).toBe(0);
    window.u32[spareWord] = 9;
    expect(fresh.u32[spareWord]).toBe(0);
    expect(await next.window('queue').read32(4 * spareWord)).toBe(0);
    await work(next);
  });

  test('does not let its device write the registers of another', async () => {
    const [one, other] = [await acquire({ mapped: true }), await acquire({ mapped: true })];
    const queue = await Queue.create(one);
    const { u32 } = mappedWindow(other, 'queue');
    // Where the memory of windows is mapped for the server.
    const windowIova = 2 ** 48 - 2 ** 36;
    const destination = windowIova + 2 * 16 * mebibyte + 4 * spareWord;
    const fill = queue.fill({ destination, lengthBytes: 8, pattern: 1n });
    await expect(fill).rejects.toMatchObject({ code: 'DEVICE_FAULT' });
    expect(u32[spareWord]).toBe(0);
    await work(other);
  });
});

describe('the death of the server', { timeout: 2 * patienceMs }, () => {
  test('revokes the mappings; the next server gives windows again', async () => {
    const lease = await acquire({ mapped: true });
    const window = mappedWindow(lease, 'queue');
    window.u32[spareWord] = 7;
    await device.stop('SIGKILL');
    expect((await lease.ended).reason).toBe('function gone');
    await eventually(async () => (window.u32[spareWord] === ones ? true : undefined));
    await serveDevice();
    const next = await acquire({ mapped: true, waitMs: patienceMs });
    expect(mappedWindow(next, 'queue').u32[spareWord]).toBe(0);
    await work(next);
  });

  test('that stopped answering is the end of its leases; what it kept shows it nothing', async () => {
    const lease = await acquire({ mapped: true });
    const window = mappedWindow(lease, 'queue');
    device.kill('SIGSTOP');
    await lease
      .window('status')
      .read32(0)
      .catch(() => undefined);
    await admin.revoke(lease.record.id, { reason: 'test' }).catch(() => undefined);
    await lease.ended;
    await eventually(async () => (window.u32[spareWord] === ones ? true : undefined));
    const waiting = acquire({ mapped: true, waitMs: patienceMs });
    device.kill('SIGCONT');
    await work(await waiting);
  });
});
