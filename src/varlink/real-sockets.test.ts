// The service on sockets of the machine: what only a kernel does to bytes and descriptors.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { systemClock } from '../os/clock.js';
import { OsEvents } from '../os/events.js';
import { closeAll, Fd } from '../os/fd.js';
import { loadNative } from '../os/native.js';
import type { ListenerSocket, StreamSocket } from '../os/socket-types.js';
import { OsSockets } from '../os/sockets.js';
import { openCount } from '../os/testing/open-descriptors.js';
import { VarlinkClient } from './client.js';
import { createEcho, type EchoService } from './testing/echo.js';

const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const events = new OsEvents(native);
const folder = mkdtempSync(join(tmpdir(), 'lessor-varlink-'));
const path = join(folder, 'socket');

let echo: EchoService;
let listener: ListenerSocket;
let openBefore = 0;

const method = (name: string): string => `org.example.echo.${name}`;

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000 && !condition(); turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(condition()).toBe(true);
}

/** An eventfd whose counter tells it apart. */
const marked = (number: number): Fd => new Fd(native, native.eventFd(number, 0o2004000));

beforeEach(() => {
  openBefore = openCount();
  echo = createEcho({
    createFd: () => marked(7),
    failure: () => new LessorError('DENIED', 'no'),
  });
  listener = sockets.listen(path, 0o600, (socket) => echo.service.accept(socket));
});

afterEach(async () => {
  listener[Symbol.dispose]();
  echo.service[Symbol.dispose]();
  while (echo.slowCount > 0) echo.finishSlow();
  closeAll(echo.taken);
  await until(() => openCount() === openBefore);
  expect(echo.bugs).toEqual([]);
});

afterAll(() => rmSync(folder, { recursive: true }));

const connect = (): VarlinkClient => new VarlinkClient(sockets.connect(path), systemClock);

describe('Varlink on sockets of the machine', () => {
  test('calls, errors and credentials', async () => {
    using client = connect();
    const { parameters } = await client.call(method('Who'));
    expect(parameters).toEqual({ uid: process.getuid?.(), more: false });
    await expect(client.call(method('Fail'), { how: '' })).rejects.toMatchObject({
      code: 'DENIED',
    });
  });

  test('descriptors stay with their message, whatever the kernel glues together', async () => {
    using client = connect();
    const pings = Array.from({ length: 6 }, (_, index) =>
      client.call(method('Ping'), { text: `${index}` }),
    );
    const takes = [101, 102, 103].map((mark) =>
      client.call(method('Take'), { index: 1 }, { fds: [marked(1), marked(mark)] }),
    );
    const last = client.call(method('Ping'), { text: 'last' });
    const texts = (await Promise.all([...pings, last])).map(({ parameters }) => parameters.text);
    expect(texts).toEqual(['0', '1', '2', '3', '4', '5', 'last']);
    await Promise.all(takes);
    expect(echo.taken.map((fd) => Number(events.drain(fd)))).toEqual([101, 102, 103]);
  });

  test('descriptors come back', async () => {
    using client = connect();
    const reply = await client.call(method('Give'), { count: limits.varlinkFdsMax });
    expect(reply.fds.map((fd) => Number(events.drain(fd)))).toEqual([7, 7, 7, 7]);
    closeAll(reply.fds);
  });

  test('a large answer arrives in many reads', async () => {
    using client = connect();
    const { parameters } = await client.call(method('Large'), { bytes: 3_000_000 });
    expect(String(parameters.text).length).toBe(3_000_000);
  });

  test('a client that goes away is noticed by the call it left open', async () => {
    const client = connect();
    const replies = client.callMore(method('Count'), { to: 10_000_000 });
    await replies.next();
    client[Symbol.dispose]();
    await until(() => echo.closedCount === 1 && echo.service.connectionCount === 0);
  });

  test('too many descriptors end the connection, and none leaks', async () => {
    using client = connect();
    const fds = Array.from({ length: 10 }, () => marked(1));
    await expect(client.call(method('Take'), { index: 0 }, { fds })).rejects.toMatchObject({
      code: 'BROKER_GONE',
    });
  });
});

describe('hostile bytes', () => {
  async function feed(pieces: readonly { bytes: Uint8Array; fdCount: number }[]): Promise<void> {
    const socket: StreamSocket = sockets.connect(path);
    let ended = false;
    socket.start(
      {
        wantBytes: () => 65_536,
        data: (_, fds) => closeAll(fds),
        end: () => {
          ended = true;
        },
      },
      { fdsMax: 16 },
    );
    for (const { bytes, fdCount } of pieces) {
      if (bytes.length === 0) continue;
      socket.send(
        bytes,
        Array.from({ length: fdCount }, () => marked(1)),
      );
      await new Promise((resolve) => setImmediate(resolve));
      if (ended) break;
    }
    socket[Symbol.dispose]();
  }

  test('end at most their own connection, and leak nothing', async () => {
    const fragment = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom(
          '{"method":"org.example.echo.Ping","parameters":{"text":"x"}}\0',
          '{"method":"org.example.echo.Take","parameters":{"index":0}}\0',
          '{"method":"org.example.echo.Give","parameters":{"count":2}}\0',
          '{"method":"org.example.echo.Slow"}\0',
          '{"method":"org.example.echo.Count","parameters":{"to":3},"more":true}\0',
          '{"method":"',
          '\0',
          '{"parameters":{"__proto__":1}}\0',
        )
        .map((text) => Buffer.from(text)),
    );
    const piece = fc.record({ bytes: fragment, fdCount: fc.constantFrom(0, 0, 0, 1, 2, 3) });
    using witness = connect();
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        await feed(pieces);
        const { parameters } = await witness.call(method('Ping'), { text: 'here' });
        expect(parameters).toEqual({ text: 'here' });
        while (echo.slowCount > 0) echo.finishSlow();
      }),
      { numRuns: 150 },
    );
    await until(() => echo.service.connectionCount === 1);
  });
});
