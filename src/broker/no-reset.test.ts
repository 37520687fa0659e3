// A function that the host cannot reset goes on when its driver can do without, else it is lost.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { LessorError } from '../base/errors.js';
import { silentLogger } from '../base/log.js';
import { AdminClient } from '../client/admin.js';
import { Client } from '../client/client.js';
import { eduRegister } from '../device/edu/registers.js';
import { eduDriver } from '../driver/edu/driver.js';
import { type Driver, defineDriver } from '../driver/types.js';
import { createOs } from '../os/index.js';
import { createBroker } from './broker.js';
import { createEmbeddedEdu } from './embedded.js';

const os = createOs();
const helpers = os.createHelpers();
const folder = mkdtempSync(join(tmpdir(), 'lessor-no-reset-'));
const log = silentLogger;

afterAll(async () => {
  await helpers[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** The same, but it counts on the reset. */
const needy = defineDriver({
  ...eduDriver,
  async start(fn, host, options) {
    const running = await eduDriver.start(fn, host, options);
    const { slices, isolation } = running;
    return { slices, isolation, restart: () => running.restart(), stop: () => running.stop() };
  },
});

async function world(name: string, driver: Driver<unknown>, error: Error) {
  const fn = await createEmbeddedEdu({ os, helpers, name, log });
  Object.assign(fn, { reset: () => Promise.reject(error) });
  const socketPath = join(folder, `${name}.sock`);
  const adminPath = join(folder, `${name}.admin.sock`);
  const broker = await createBroker({ os, helpers, fn, driver, socketPath, adminPath, log });
  const client = new Client(os, socketPath);
  const admin = new AdminClient(os, adminPath);
  return {
    client,
    admin,
    async [Symbol.asyncDispose]() {
      client.close();
      admin.close();
      await broker.close();
    },
  };
}

const unsupported = new LessorError('UNSUPPORTED', 'no reset');
const edu = eduDriver as Driver<unknown>;

describe('a function without a reset', () => {
  test('goes on, in a new epoch, with a driver that finds it at rest', async () => {
    await using running = await world('calm', edu, unsupported);
    const { client, admin } = running;
    const lease = await client.acquire({ memoryBytes: 8192 });
    const memory = await lease.memory.allocate(4096);
    const window = lease.window('registers');
    await window.write32(eduRegister.LIVENESS, 1);
    await window.write32(eduRegister.DMA_SOURCE, memory.iova);
    await window.write32(eduRegister.DMA_DESTINATION, 0x40000);
    await window.write32(eduRegister.DMA_COUNT, 4096);
    await window.write32(eduRegister.DMA_COMMAND, 1);
    const epoch = await admin.reset('test');
    expect(epoch).toBe(lease.record.epoch + 1);
    expect((await lease.ended).reason).toContain('reset');
    await lease.close();
    const next = await client.acquire({ memoryBytes: 4096 });
    expect(await next.window('registers').read32(eduRegister.LIVENESS)).toBe(0);
    await next.close();
  });

  test.each<[string, Driver<unknown>, Error]>([
    ['needy', needy as Driver<unknown>, unsupported],
    ['failing', edu, new LessorError('FUNCTION_GONE', 'the reset failed')],
  ])('is lost where that is not enough: %s', async (name, driver, error) => {
    await using running = await world(name, driver, error);
    const { client, admin } = running;
    await expect(admin.reset('test')).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    await expect(client.acquire({ memoryBytes: 4096 })).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
    });
  });
});
