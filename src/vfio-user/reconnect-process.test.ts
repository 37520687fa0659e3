// The reconnecting client against server processes that are killed, stopped and started again.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../os/clock.js';
import { createMemoryOs } from '../os/memory.js';
import { loadNative } from '../os/native.js';
import { OsSockets } from '../os/sockets.js';
import { openDescriptors } from '../os/testing/open-descriptors.js';
import {
  connectReconnecting,
  type ReconnectEvent,
  type ReconnectingClient,
  type ReconnectOptions,
} from './reconnect.js';
import { until } from './testing/world.js';

const script = fileURLToPath(new URL('./testing/server-process.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'lessor-reconnect-'));
const path = join(directory, 'device.sock');
const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const memory = createMemoryOs(native);

interface Server {
  readonly child: ChildProcess;
  readonly lines: string[];
}

let servers: Server[] = [];
let client: ReconnectingClient | undefined;
let before: ReadonlySet<number>;

async function serve(stuckAt?: string): Promise<Server> {
  const given = stuckAt === undefined ? [path] : [path, stuckAt];
  const child = spawn(process.execPath, [script, ...given], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  child.stdout.on('data', (data: Buffer) => lines.push(...data.toString().trim().split('\n')));
  const server = { child, lines };
  servers.push(server);
  await slowly(() => lines.includes('listening'), 'the server listens');
  return server;
}

/** Processes start in tenths of a second, or seconds where much else runs. */
async function slowly(condition: () => boolean, what: string): Promise<void> {
  const endMs = systemClock.nowMs() + 15_000;
  while (!condition()) {
    if (systemClock.nowMs() > endMs) throw new TypeError(`timed out: ${what}`);
    await new Promise<void>((resolve) => {
      systemClock.after(5, resolve);
    });
  }
}

async function kill(server: Server, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  const { child } = server;
  child.kill(signal);
  if (signal === 'SIGKILL')
    await slowly(() => (child.signalCode ?? child.exitCode) !== null, 'the death');
}

async function connect(options: Partial<ReconnectOptions> = {}): Promise<ReconnectingClient> {
  client = await connectReconnecting({
    clock: systemClock,
    dial: () => sockets.connect(path),
    backoff: { firstMs: 10, maxMs: 100 },
    ...options,
  });
  return client;
}

function map(iova: bigint) {
  const fd = memory.create('lessor-test-map', 4096);
  return { iova, lengthBytes: 4096n, offsetBytes: 0n, readable: true, writable: true, fd };
}

beforeEach(() => {
  before = new Set(openDescriptors().keys());
});

afterEach(async () => {
  client?.close();
  client = undefined;
  for (const server of servers) await kill(server);
  servers = [];
  const left = (): string[] =>
    [...openDescriptors()]
      .filter(([number, link]) => !before.has(number) && /memfd:lessor-test|socket:/.test(link))
      .map(([, link]) => link);
  await until(() => left().length === 0, `no descriptor is left: ${left().join()}`);
});

afterAll(() => rmSync(directory, { recursive: true }));

it.each([
  ['in the middle of a request', 'read 0 '],
  ['in the middle of a map', 'map'],
  ['with nothing to do', undefined],
])(
  'goes on with a new process after one was killed %s',
  async (_when, stuckAt) => {
    const first = await serve(stuckAt);
    const one = await connect({ outageMs: 30_000 });
    const gone = { code: 'SERVER_GONE' };
    const under: Promise<void>[] = [];
    if (stuckAt === 'read 0 ') {
      under.push(expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject(gone));
    } else if (stuckAt === 'map') {
      under.push(expect(one.dmaMap(map(0x1000n))).rejects.toMatchObject(gone));
    } else {
      await one.dmaMap(map(0x2000n));
    }
    if (stuckAt !== undefined) {
      await slowly(() => first.lines.some((line) => line.startsWith(stuckAt)), 'the request');
    }
    await kill(first);
    await Promise.all(under);
    await until(() => one.state === 'lost', 'the loss');
    const second = await serve();
    await slowly(() => one.state === 'connected', 'the server is back');
    expect(await one.run((device) => device.read32(0, 0))).toBe(0);
    const maps = second.lines.filter((line) => line.startsWith('map'));
    expect(maps).toEqual(stuckAt === undefined ? ['map 8192 4096 0 rw map'] : []);
  },
  40_000,
);

it('gives up a stopped process by the deadline, and finds it again', async () => {
  const server = await serve();
  const one = await connect({ deadlineMs: 200, attemptMs: 3000, outageMs: 30_000 });
  const events: ReconnectEvent['type'][] = [];
  one.onEvent(({ type }) => events.push(type));
  await kill(server, 'SIGSTOP');
  const late = one.run((device) => device.read32(0, 0));
  await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(events).toEqual(['lost']);
  await kill(server, 'SIGCONT');
  await slowly(() => one.state === 'connected', 'the server is back');
}, 40_000);

it('survives a storm of deaths', async () => {
  let server = await serve();
  const one = await connect({ outageMs: 60_000, waitMs: 20_000 });
  await one.dmaMap(map(0x3000n));
  for (let round = 0; round < 4; round += 1) {
    await kill(server);
    const read = one.run((device) => device.read32(0, 0)).catch(() => undefined);
    server = await serve();
    await read;
    await slowly(() => one.state === 'connected', 'the server is back');
    expect(server.lines.filter((line) => line.startsWith('map'))).toHaveLength(1);
  }
}, 60_000);
