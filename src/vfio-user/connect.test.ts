// Connecting in bounded time, to sockets that are there, full, silent or not there.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isLessorError, isOsError, OsError } from '../base/errors.js';
import { systemClock } from '../os/clock.js';
import { loadNative } from '../os/native.js';
import type { StreamSocket } from '../os/socket-types.js';
import { OsSockets } from '../os/sockets.js';
import { connectVfioUserPath } from './connect.js';
import { serveVfioUser } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import { ManualClock } from './testing/manual-clock.js';
import { kernelWorld, turns, until } from './testing/world.js';

const sockets = new OsSockets(loadNative(), systemClock);
const options = { clock: systemClock, sockets, connectDeadlineMs: 200 };
let folder: string;
let path: string;
const accepted: StreamSocket[] = [];

beforeEach(() => {
  folder = mkdtempSync('/tmp/lessor-connect-');
  path = join(folder, 'socket');
});

afterEach(() => {
  for (const socket of accepted.splice(0)) socket[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

it('connects to a served device', async () => {
  const endpoint = new TestEndpoint(kernelWorld());
  using _listener = sockets.listen(path, 0o600, (socket) => {
    serveVfioUser(socket, endpoint, { clock: systemClock });
  });
  const client = await connectVfioUserPath(path, { clock: systemClock, sockets });
  expect((await client.deviceInfo()).regionCount).toBe(9);
  client.close();
  await until(() => endpoint.closedCount === 1, 'closed');
});

it('ends at a server that accepts and is silent', async () => {
  using _listener = sockets.listen(path, 0o600, (socket) => accepted.push(socket));
  const startMs = systemClock.nowMs();
  const error = await errorOf(connectVfioUserPath(path, options));
  expect(isLessorError(error, 'DEADLINE_EXCEEDED')).toBe(true);
  expect(systemClock.nowMs() - startMs).toBeGreaterThanOrEqual(199);
});

it('is ENOENT where nobody ever listened', async () => {
  expect(isOsError(await errorOf(connectVfioUserPath(path, options)), 'ENOENT')).toBe(true);
});

it('tries again while the queue of the listener is full, until its deadline', async () => {
  let tries = 0;
  const connect = (): never => {
    tries++;
    throw new OsError('EAGAIN', 'connect');
  };
  const full = { ...options, sockets: { connect } };
  const error = await errorOf(connectVfioUserPath(path, full));
  expect(isLessorError(error, 'DEADLINE_EXCEEDED')).toBe(true);
  expect(tries).toBeGreaterThan(2);
});

it('does not try again at its deadline', async () => {
  let tries = 0;
  const connect = (): never => {
    tries++;
    throw new OsError('EAGAIN', 'connect');
  };
  const clock = new ManualClock();
  const connecting = { clock, sockets: { connect }, connectDeadlineMs: 20 };
  const failing = errorOf(connectVfioUserPath(path, connecting));
  await turns(1);
  clock.advance(20);
  expect(isLessorError(await failing, 'DEADLINE_EXCEEDED')).toBe(true);
  expect([tries, clock.timerCount]).toEqual([2, 0]);
});

it('gets in when the queue has room again, with what is left of its time', async () => {
  const endpoint = new TestEndpoint(kernelWorld());
  using _listener = sockets.listen(path, 0o600, (socket) => {
    serveVfioUser(socket, endpoint, { clock: systemClock });
  });
  let tries = 0;
  const connect = (to: string): StreamSocket => {
    if (++tries < 3) throw new OsError('EAGAIN', 'connect');
    return sockets.connect(to);
  };
  const client = await connectVfioUserPath(path, { clock: systemClock, sockets: { connect } });
  expect(tries).toBe(3);
  client.close();
  await until(() => endpoint.closedCount === 1, 'closed');
});
