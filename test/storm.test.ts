// Clients that are killed at any moment, many at a time: nothing of them stays.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { BrokerFixture, nothingLeft, pause } from './support/broker-fixture.js';
import { startBystander } from './support/bystander.js';

const rounds = 20;
const clientsEach = 4;
const liveMsMax = 60;
const script = fileURLToPath(new URL('./support/storm-child.js', import.meta.url));

/** Small and repeatable: a run is told apart by its seed alone. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function startStorm(socketPath: string): Promise<ChildProcess> {
  const child = fork(script, {
    env: { ...process.env, LESSOR_TEST_SOCKET: socketPath },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  await once(child, 'message');
  return child;
}

test('a storm of SIGKILL leaves nothing behind', { timeout: 120_000 }, async () => {
  const seed = Date.now() >>> 0;
  const random = randomFrom(seed);
  await using broker = await BrokerFixture.start({ queues: 6 });
  const bystander = await startBystander(broker);
  const startAll = (): Promise<ChildProcess[]> =>
    Promise.all(Array.from({ length: clientsEach }, () => startStorm(broker.socketPath)));

  for (let round = 0; round < rounds; round += 1) {
    const clients = await startAll();
    await Promise.all(
      clients.map(async (client) => {
        await pause(random() * liveMsMax);
        const exited = once(client, 'exit');
        client.kill('SIGKILL');
        await exited;
      }),
    );
  }

  await bystander.expectUndisturbed();
  expect(await broker.leftOver(), `seed ${seed}`).toEqual(nothingLeft);
  const info = await broker.control.info();
  expect(info.quarantined).toEqual([]);
  expect(info.slices.filter(({ state }) => state !== 'free')).toHaveLength(1);
  const ended = broker.events.filter(({ type }) => type === 'ended');
  expect(ended.length).toBeGreaterThan(rounds);
  const fresh = await broker.control.acquire({ memoryBytes: 4096 });
  await fresh.close();
  await bystander.actor[Symbol.asyncDispose]();
  expect(await broker.stop()).toBe(0);
});
