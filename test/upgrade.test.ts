// The control connection itself as the lease, with a real broker.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../src/client/client.js';
import { Queue } from '../src/client/mqdma/index.js';
import { VarlinkClient } from '../src/varlink/client.js';
import { BrokerFixture, nothingLeft } from './support/broker-fixture.js';
import { monitorOs } from './support/vm-monitor.js';

let broker: BrokerFixture;
let client: Client;

beforeAll(async () => {
  broker = await BrokerFixture.start();
  client = await broker.connect();
  await broker.countBefore();
});

afterAll(async () => {
  client.close();
  expect(await broker.leftOver()).toEqual(nothingLeft);
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
});

test('works like any other lease, and ends with the connection', async () => {
  const lease = await client.acquire({ memoryBytes: 2 ** 20, upgrade: true });
  const queue = await Queue.create(lease, { entries: 16 });
  const memory = await lease.memory.allocate(8192);
  memory.u8.fill(7, 0, 4096);
  await queue.copy({ source: memory.iova, destination: memory.iova + 4096, lengthBytes: 4096 });
  expect(memory.u8[8191]).toBe(7);
  expect(await client.leases()).toMatchObject([{ id: lease.record.id, pid: process.pid }]);
  await lease.close();
  expect(await broker.endOf(lease.record.id)).toBe('released');
});

test('of a connection that just closes is the lease of a holder that died', async () => {
  const control = new VarlinkClient(monitorOs.sockets.connect(broker.socketPath), monitorOs.clock);
  const asked = { memoryBytes: 4096, slice: 'queue1' };
  const { parameters, socket } = await control.upgrade<{ lease: { id: string } }>(
    'io.lessor.Control.Acquire',
    asked,
  );
  const { id } = parameters.lease;
  socket[Symbol.dispose]();
  expect(await broker.endOf(id)).toMatch(/released|holder died/);
});

test('is revoked like any other: told by ENODEV, then by the end', async () => {
  const lease = await client.acquire({ memoryBytes: 4096, upgrade: true });
  const window = lease.mappedWindow('queue');
  await broker.admin.revoke(lease.record.id, {});
  expect(await broker.endOf(lease.record.id)).toMatch(/^revoked/);
  await expect(lease.memory.allocate(4096)).rejects.toMatchObject({ errno: 'ENODEV' });
  expect(await lease.ended).toMatchObject({ released: false });
  expect(window.u32[0]).toBe(0xffff_ffff);
});

test('is refused like any other, and goes with no listening socket', async () => {
  await expect(
    client.acquire({ memoryBytes: 4096, slice: 'none', upgrade: true }),
  ).rejects.toMatchObject({ code: 'UNKNOWN_SLICE' });
  using control = new VarlinkClient(monitorOs.sockets.connect(broker.socketPath), monitorOs.clock);
  const asked = { memoryBytes: 4096, listen: 0 };
  await expect(control.upgrade('io.lessor.Control.Acquire', asked)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
});
