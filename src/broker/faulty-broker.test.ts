// A broker whose system calls fail, one after the other: nothing leaks, whoever asked is told, and
// the next request is served.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { errnoOf } from '../base/errors.js';
import { silentLogger } from '../base/log.js';
import { Client } from '../client/client.js';
import { mqdmaDriver } from '../driver/mqdma/driver.js';
import { systemClock } from '../os/clock.js';
import type { HelperPool } from '../os/helper-types.js';
import { createOs, loadNative, type Os } from '../os/index.js';
import { FaultyOs } from '../os/testing/faulty-os.js';
import { openDescriptors } from '../os/testing/open-descriptors.js';
import { type Broker, createBroker } from './broker.js';
import { createEmbeddedMqdma } from './embedded.js';

/** More than a lease costs the broker from acquire to end. */
const callsMax = 400;
/** More than a broker makes to start and end. */
const startsMax = 200;
/**
 * A spare helper, which a busy machine makes more often, stays for half a second: after each lease
 * that is waited for.
 */
const timeout = 180_000;
const sound = createOs();
/** The broker's: one for all of them, as arenas last as long as the process. */
const faulty = new FaultyOs(loadNative());
const brokerOs = createOs(faulty.binding);
const bugs: unknown[] = [];
let folder: string;

const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => systemClock.after(delayMs, () => resolve()));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-faulty-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function start(helpers: HelperPool): Promise<Broker> {
  const fn = await createEmbeddedMqdma({
    os: brokerOs,
    helpers,
    name: 'mqdma-faulty',
    queueCount: 2,
    faultInjection: false,
    log: silentLogger,
  });
  return createBroker({
    os: brokerOs,
    helpers,
    fn,
    driver: mqdmaDriver,
    socketPath: join(folder, 'a.sock'),
    adminPath: join(folder, 'a.admin.sock'),
    deadlines: { fencedEndpointMs: 5 },
    log: silentLogger,
    onBug: (error) => bugs.push(error),
  });
}

/** How many descriptors there are of each kind. */
function kinds(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of openDescriptors().values()) {
    const kind = name.replace(/:\[\d+\]$/, '').replace(/-\d+ \(deleted\)$/, '');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** What there is more of than before, once nothing changes any more. */
async function leakedSince(before: ReadonlyMap<string, number>): Promise<readonly string[]> {
  for (let tries = 0; ; tries += 1) {
    const leaked = [...kinds()].filter(([kind, count]) => count > (before.get(kind) ?? 0));
    if (leaked.length === 0 || tries > 150) return leaked.map(([kind]) => kind);
    await pause(10);
  }
}

afterEach(() => {
  expect(bugs.splice(0)).toEqual([]);
});

async function useLease(os: Os = sound): Promise<void> {
  const client = new Client(os, join(folder, 'a.sock'));
  try {
    // A failure in a reclaim can cost a reset of the function, which is waited for.
    const lease = await client.acquire({ memoryBytes: 65_536, waitMs: 5000 });
    try {
      await lease.interrupt(0).wait(0);
      const memory = await lease.memory.allocate(4096);
      await memory[Symbol.asyncDispose]();
    } finally {
      await lease.close();
    }
  } finally {
    client.close();
  }
}

test('each call of a lease fails once, and the broker goes on', { timeout }, async () => {
  const helpers = sound.createHelpers();
  const broker = await start(helpers);
  await useLease();
  await pause(300);
  const before = kinds();
  const failed = new Map<string, number>();
  for (let nth = 1; nth < callsMax; nth += 1) {
    faulty.reset();
    faulty.failNth(nth, 'EMFILE');
    await useLease().catch((error: unknown) => {
      if (errnoOf(error) === undefined) throw error;
    });
    const { failedCall } = faulty;
    faulty.reset();
    expect(await leakedSince(before), `call ${nth}, ${failedCall}`).toEqual([]);
    if (failedCall === undefined) break;
    failed.set(failedCall, (failed.get(failedCall) ?? 0) + 1);
    // The next one is served whatever failed.
    if (nth % 10 === 0) await useLease();
  }
  expect(faulty.failedCall).toBeUndefined();
  expect(failed.size).toBeGreaterThan(5);
  await useLease();
  await broker.close();
  await helpers[Symbol.asyncDispose]();
});

test('a broker that cannot start leaves nothing', { timeout }, async () => {
  const helpers = sound.createHelpers();
  await (await start(helpers)).close();
  await pause(300);
  const before = kinds();
  let failures = 0;
  for (let nth = 1; nth < startsMax; nth += 1) {
    faulty.reset();
    faulty.failNth(nth, 'EMFILE');
    const outcome = await start(helpers)
      .then((broker) => broker.close())
      .catch((error: unknown) => error);
    const { failedCall } = faulty;
    faulty.reset();
    if (outcome !== undefined) {
      expect(errnoOf(outcome), `call ${nth}, ${failedCall}: ${String(outcome)}`).toBeDefined();
      failures += 1;
    }
    expect(await leakedSince(before), `call ${nth}, ${failedCall}`).toEqual([]);
    if (failedCall === undefined) break;
  }
  expect(failures).toBeGreaterThan(5);
  await helpers[Symbol.asyncDispose]();
});

test('each call of a client fails once, and nothing stays on either side', {
  timeout: 60_000,
}, async () => {
  const helpers = sound.createHelpers();
  const broker = await start(helpers);
  const client = new FaultyOs(loadNative());
  const os = createOs(client.binding);
  await useLease(os);
  await pause(300);
  const before = kinds();
  let failures = 0;
  for (let nth = 1; nth < callsMax; nth += 1) {
    client.reset();
    client.failNth(nth, 'EMFILE');
    const outcome = await useLease(os).catch((error: unknown) => error);
    const { failedCall } = client;
    client.reset();
    const where = `call ${nth}, ${failedCall}`;
    if (outcome !== undefined) expect(errnoOf(outcome), `${where}: ${outcome}`).toBeDefined();
    expect(await leakedSince(before), where).toEqual([]);
    if (failedCall === undefined) break;
    failures += 1;
  }
  expect(failures).toBeGreaterThan(20);
  await broker.close();
  await helpers[Symbol.asyncDispose]();
});
