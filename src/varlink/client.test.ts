import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLessorError, LessorError } from '../base/errors.js';
import { closeAll } from '../os/fd.js';
import { VarlinkClient } from './client.js';
import { fromErrorReply } from './errors.js';
import { createEcho, type EchoService } from './testing/echo.js';
import { ManualClock } from './testing/manual-clock.js';
import { createPipe, FakeFds, type PipeEnd } from './testing/pipe.js';

let fds: FakeFds;
let echo: EchoService;
let clock: ManualClock;
let client: VarlinkClient;
let socket: PipeEnd;

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return isLessorError(error) ? `${error.code}: ${error.message}` : String(error);
  }
  return 'no failure';
}

const method = (name: string): string => `org.example.echo.${name}`;

beforeEach(() => {
  fds = new FakeFds();
  clock = new ManualClock();
  echo = createEcho({
    createFd: () => fds.create(),
    failure: () => new LessorError('QUOTA_EXCEEDED', 'enough', { hint: 'less' }),
  });
  const [one, two] = createPipe(fds);
  socket = one;
  echo.service.accept(two);
  client = new VarlinkClient(one, clock);
});

afterEach(async () => {
  while (echo.slowCount > 0) echo.finishSlow();
  client[Symbol.dispose]();
  echo.service[Symbol.dispose]();
  await turns();
  closeAll(echo.taken);
  expect(fds.open.size).toBe(0);
  expect(clock.timerCount).toBe(0);
});

describe('a client', () => {
  test('writes a call as sd-varlink does', async () => {
    await client.call(method('Ping'), { text: 'ü', none: undefined });
    expect(socket.sent).toBe('{"method":"org.example.echo.Ping","parameters":{"text":"ü"}}\0');
  });

  test('gets its answers in order', async () => {
    const replies = await Promise.all([
      client.call(method('Ping'), { text: 'a' }),
      client.call(method('Who')),
      client.call(method('Ping'), { text: 'b' }),
    ]);
    expect(replies.map(({ parameters }) => parameters)).toEqual([
      { text: 'a' },
      { uid: 1000, more: false },
      { text: 'b' },
    ]);
  });

  test('gets our errors with code, hint and detail', async () => {
    const error = await client.call(method('Fail'), { how: '' }).catch((caught) => caught);
    expect(error).toMatchObject({
      name: 'LessorError',
      code: 'QUOTA_EXCEEDED',
      errno: 'ENOSPC',
      message: 'enough',
      hint: 'less',
      retry: true,
    });
  });

  test.each([
    ['Ping', { text: 1 }, 'INVALID_ARGUMENT: org.varlink.service.InvalidParameter text'],
    ['Count', { to: 1 }, 'INVALID_ARGUMENT: org.varlink.service.ExpectedMore'],
    ['Missing', {}, 'UNSUPPORTED: org.varlink.service.MethodNotImplemented'],
    ['None', {}, 'UNSUPPORTED: org.varlink.service.MethodNotFound'],
  ])('gets a standard error of %s', async (name, parameters, text) => {
    expect(await failure(client.call(method(name), parameters))).toContain(text);
  });

  test('passes descriptors and gets some', async () => {
    const fd = fds.create();
    const { number } = fd;
    await client.call(method('Take'), { index: 0 }, { fds: [fd] });
    expect(echo.taken[0]?.number).toBe(number);
    const reply = await client.call(method('Give'), { count: 2 });
    expect(reply.fds).toHaveLength(2);
    closeAll(reply.fds);
  });

  test('stops waiting at its deadline; a late answer is dropped, with its descriptors', async () => {
    const slow = failure(client.call(method('Slow'), {}, { deadlineMs: 100 }));
    const give = failure(client.call(method('Give'), { count: 1 }, { deadlineMs: 200 }));
    const ping = client.call(method('Ping'), { text: 'x' }, { deadlineMs: 1000 });
    await turns();
    clock.advance(100);
    expect(await slow).toContain('DEADLINE_EXCEEDED: org.example.echo.Slow');
    clock.advance(100);
    expect(await give).toContain('DEADLINE_EXCEEDED');
    echo.finishSlow();
    expect((await ping).parameters).toEqual({ text: 'x' });
  });

  test('is told when the service goes', async () => {
    const slow = failure(client.call(method('Slow')));
    await turns();
    echo.service[Symbol.dispose]();
    expect(await slow).toBe('BROKER_GONE: the broker closed the connection');
    expect(client.closed.aborted).toBe(true);
    const fd = fds.create();
    expect(await failure(client.call(method('Take'), {}, { fds: [fd] }))).toContain('BROKER_GONE');
    expect(fd.isOpen).toBe(false);
  });

  test('closing it fails what is open', async () => {
    const slow = failure(client.call(method('Slow')));
    client[Symbol.dispose]();
    expect(await slow).toContain('BROKER_GONE');
  });
});

describe('calls with more', () => {
  test('are an iterable', async () => {
    const numbers: unknown[] = [];
    for await (const { parameters } of client.callMore<{ number: number }>(method('Count'), {
      to: 3,
    })) {
      numbers.push(parameters.number);
    }
    expect(numbers).toEqual([0, 1, 2, 3]);
    expect((await client.call(method('Who'))).parameters).toMatchObject({ uid: 1000 });
  });

  test('can be taken one at a time', async () => {
    const replies = client.callMore(method('Count'), { to: 1 });
    expect(await replies.next()).toMatchObject({ continues: true, parameters: { number: 0 } });
    expect(await replies.next()).toMatchObject({ continues: false, parameters: { number: 1 } });
    expect(await replies.next()).toBeUndefined();
    replies.stop();
    expect(client.closed.aborted).toBe(false);
  });

  test('are left by closing the connection', async () => {
    for await (const reply of client.callMore(method('Count'), { to: 1_000_000 })) {
      if (reply.parameters.number === 2) break;
    }
    await turns();
    expect(client.closed.aborted).toBe(true);
    expect(echo.closedCount).toBe(1);
  });

  test('fail like any other', async () => {
    expect(await failure(client.callMore(method('Fail'), { how: '' }).next())).toContain('QUOTA');
    expect((await client.call(method('Who'))).parameters).toMatchObject({ uid: 1000 });
  });

  test('pause reading when nobody takes the replies, and lose none', async () => {
    const replies = client.callMore<{ number: number }>(method('Count'), { to: 200 });
    await turns(400);
    expect(socket.isPaused).toBe(true);
    const numbers: number[] = [];
    for await (const { parameters } of replies) numbers.push(parameters.number);
    expect(numbers).toEqual(Array.from({ length: 201 }, (_, index) => index));
    expect(socket.isPaused).toBe(false);
  });

  test('have a deadline for their first reply alone', async () => {
    const replies = client.callMore(method('Count'), { to: 3 }, { deadlineMs: 50 });
    await replies.next();
    clock.advance(1000);
    expect(await replies.next()).toMatchObject({ parameters: { number: 1 } });
    replies.stop();

    const [one, two] = createPipe(fds);
    echo.service.accept(two);
    const other = new VarlinkClient(one, clock);
    const slow = failure(other.callMore(method('Slow'), {}, { deadlineMs: 50 }).next());
    clock.advance(50);
    expect(await slow).toContain('DEADLINE_EXCEEDED');
  });

  test('keep the connection to themselves', () => {
    client.callMore(method('Count'), { to: 1000 });
    expect(() => client.call(method('Who'))).toThrow('busy with org.example.echo.Count');
  });

  test('do not begin behind a call that waits, and pass on no descriptor then', async () => {
    const slow = client.call(method('Slow'));
    const fd = fds.create();
    expect(() => client.callMore(method('Count'), { to: 1 }, { fds: [fd] })).toThrow(
      'busy with org.example.echo.Slow',
    );
    expect(fd.isOpen).toBe(false);
    await turns();
    echo.finishSlow();
    await slow;
  });

  test('are taken up by another process, which leaves them like its own', async () => {
    const [one, two] = createPipe(fds);
    echo.service.accept(two);
    const begun = { method: method('Count'), parameters: { to: 2 }, more: true };
    one.send(Buffer.from(`${JSON.stringify(begun)}\0`));
    await turns(2);
    const heir = new VarlinkClient(one, clock);
    const numbers: unknown[] = [];
    for await (const { parameters } of heir.resumeMore(method('Count'))) {
      numbers.push(parameters.number);
    }
    expect(numbers).toEqual([0, 1, 2]);
    expect((await heir.call(method('Who'))).parameters).toMatchObject({ uid: 1000 });
    heir[Symbol.dispose]();
    expect(await failure(heir.resumeMore(method('Count')).next())).toContain('BROKER_GONE');
    expect(await failure(heir.call(method('Who')))).toContain('BROKER_GONE');
  });
});

describe('a service that misbehaves', () => {
  async function replied(text: string, count = 0): Promise<string> {
    const [one, two] = createPipe(fds);
    const other = new VarlinkClient(one, clock);
    const answer = failure(other.call(method('Who')));
    two.start({ wantBytes: () => 1000, data: () => {}, end: () => {} }, { fdsMax: 0 });
    two.send(
      Buffer.from(text),
      Array.from({ length: count }, () => fds.create()),
    );
    const result = await answer;
    await turns();
    expect(other.closed.aborted).toBe(true);
    two[Symbol.dispose]();
    return result;
  }

  test.each([
    ['hello\0', 'FRAME_MALFORMED'],
    ['{"parameters":[]}\0', 'FRAME_MALFORMED'],
    ['{"error":1}\0', 'FRAME_MALFORMED'],
    ['{"continues":1}\0', 'FRAME_MALFORMED'],
    ['{"parameters":{},"continues":true}\0', 'FRAME_MALFORMED: a reply that nobody asked for'],
    ['{"parameters":{}}\0{"parameters":{}}\0', 'no failure'],
  ])('%j: %s', async (text, error) => {
    expect(await replied(text, 1)).toContain(error);
  });
});

test.each<[string, object, string, string]>([
  ['a.b.Any', { code: 'DENIED', detail: 'no' }, 'DENIED', 'no'],
  ['a.b.Any', { code: 'toString', x: 1 }, 'UNSUPPORTED', 'a.b.Any toString'],
  ['a.b.Any', {}, 'UNSUPPORTED', 'a.b.Any'],
  ['toString', {}, 'UNSUPPORTED', 'toString'],
  ['org.varlink.service.PermissionDenied', {}, 'DENIED', 'PermissionDenied'],
])('the error reply %s %j is %s', (name, parameters, code, text) => {
  const error = fromErrorReply(name, parameters as Record<string, string>);
  expect(error.code).toBe(code);
  expect(error.message).toContain(text);
});
