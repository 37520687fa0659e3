import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LessorError, OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Fd } from '../os/fd.js';
import { invalidParameter } from './errors.js';
import { createEcho, type EchoService, echoDescription, largestText } from './testing/echo.js';
import { createPipe, FakeFds, type PipeEnd } from './testing/pipe.js';

let fds: FakeFds;
let echo: EchoService;

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Peer {
  readonly socket: PipeEnd;
  /** Sends bytes as they are. */
  raw(bytes: string | Uint8Array, sent?: readonly Fd[]): void;
  /** Everything received so far, NUL shown as a line end. */
  readonly received: string;
  readonly fds: Fd[];
  readonly ended: boolean;
}

function connect(uid = 1000): Peer {
  const [socket, other] = createPipe(fds, { pid: 7, uid, gid: uid });
  const state = { received: '', fds: [] as Fd[], ended: false };
  socket.start(
    {
      wantBytes: () => 65_536,
      data: (bytes, got) => {
        state.received += Buffer.from(bytes).toString('utf8').replaceAll('\0', '\n');
        state.fds.push(...got);
      },
      end: () => {
        state.ended = true;
      },
    },
    { fdsMax: 16 },
  );
  echo.service.accept(other);
  return {
    socket,
    raw: (bytes, sent = []) =>
      socket.send(typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : bytes, sent),
    get received() {
      return state.received;
    },
    fds: state.fds,
    get ended() {
      return state.ended;
    },
  };
}

/** What comes back for some bytes. */
async function answer(bytes: string, sent: readonly Fd[] = [], count = 20): Promise<string> {
  const peer = connect();
  peer.raw(bytes, sent);
  await turns(count);
  const { received, ended } = peer;
  peer.socket[Symbol.dispose]();
  for (const fd of peer.fds) fd.close();
  return ended ? `${received}(end)` : received;
}

beforeEach(() => {
  fds = new FakeFds();
  echo = createEcho({
    createFd: () => fds.create(),
    failure: (how) => {
      switch (how) {
        case 'ours':
          return new LessorError('NO_FREE_SLICE', 'all are taken', { hint: 'wait' });
        case 'system':
          return new OsError('ENFILE', 'open', '/dev/x');
        case 'protocol':
          return new ProtocolError('struct.field', 4, 'odd');
        case 'standard':
          return invalidParameter('how');
        default:
          return new TypeError('a bug');
      }
    },
  });
});

afterEach(async () => {
  echo.service[Symbol.dispose]();
  while (echo.slowCount > 0) echo.finishSlow();
  for (const fd of echo.taken) fd.close();
  await turns();
  expect(fds.open.size).toBe(0);
  expect(echo.service.connectionCount).toBe(0);
});

describe('calls as sd-varlink makes them', () => {
  test.each([
    [
      'GetInfo without parameters',
      '{"method":"org.varlink.service.GetInfo"}\0',
      '{"parameters":{"vendor":"Example","product":"Echo","version":"1",' +
        '"url":"https://example.org","interfaces":["org.varlink.service","org.example.echo"]}}\n',
    ],
    [
      'GetInterfaceDescription',
      '{"method":"org.varlink.service.GetInterfaceDescription",' +
        '"parameters":{"interface":"org.example.echo"}}\0',
      `{"parameters":{"description":${JSON.stringify(echoDescription)}}}\n`,
    ],
    [
      'empty parameters',
      '{"method":"org.varlink.service.GetInterfaceDescription","parameters":{}}\0',
      '{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"interface"}}\n',
    ],
    [
      'an interface that is not there',
      '{"method":"org.varlink.service.GetInterfaceDescription",' +
        '"parameters":{"interface":"org.example.none"}}\0',
      '{"error":"org.varlink.service.InterfaceNotFound",' +
        '"parameters":{"interface":"org.example.none"}}\n',
    ],
    [
      'a call with text',
      '{"method":"org.example.echo.Ping","parameters":{"text":"grüß \\u0000 😀"}}\0',
      '{"parameters":{"text":"grüß \\u0000 😀"}}\n',
    ],
    [
      'null for what is not set',
      '{"method":"org.example.echo.Who","parameters":null,"more":null,"oneway":false}\0',
      '{"parameters":{"uid":1000,"more":false}}\n',
    ],
    [
      'more for a method that answers once',
      '{"method":"org.example.echo.Who","parameters":{},"more":true}\0',
      '{"parameters":{"uid":1000,"more":true}}\n',
    ],
    [
      'more',
      '{"method":"org.example.echo.Count","parameters":{"to":2},"more":true}\0',
      '{"parameters":{"number":0},"continues":true}\n' +
        '{"parameters":{"number":1},"continues":true}\n{"parameters":{"number":2}}\n',
    ],
    [
      'a member of a vendor',
      '{"method":"org.example.echo.Who","org.example.tag":{"a":1}}\0',
      '{"parameters":{"uid":1000,"more":false}}\n',
    ],
  ])('%s', async (_, call, reply) => {
    expect(await answer(call)).toBe(reply);
  });
});

describe('errors of calls', () => {
  const error = (name: string, parameters: object) =>
    `${JSON.stringify({ error: `org.varlink.service.${name}`, parameters })}\n`;

  test.each([
    ['org.example.none.Ping', error('InterfaceNotFound', { interface: 'org.example.none' })],
    ['Ping', error('InterfaceNotFound', { interface: '' })],
    ['', error('InterfaceNotFound', { interface: '' })],
    ['org.example.echo.None', error('MethodNotFound', { method: 'org.example.echo.None' })],
    ['org.example.echo.', error('MethodNotFound', { method: 'org.example.echo.' })],
    [
      'org.example.echo.constructor',
      error('MethodNotFound', { method: 'org.example.echo.constructor' }),
    ],
    [
      'org.example.echo.Missing',
      error('MethodNotImplemented', { method: 'org.example.echo.Missing' }),
    ],
    ['org.example.echo.Ping', error('InvalidParameter', { parameter: 'text' })],
  ])('%s', async (method, reply) => {
    expect(await answer(`${JSON.stringify({ method })}\0`)).toBe(reply);
  });

  const call = (method: string, parameters: object, extra = {}) =>
    `${JSON.stringify({ method: `org.example.echo.${method}`, parameters, ...extra })}\0`;

  test('an unknown parameter', async () => {
    expect(await answer(call('Ping', { text: '', else: 1 }))).toBe(
      error('InvalidParameter', { parameter: 'else' }),
    );
  });

  test('a method that needs more', async () => {
    expect(await answer(call('Count', { to: 1 }))).toBe(error('ExpectedMore', {}));
  });

  test('an upgrade', async () => {
    expect(await answer(call('Ping', { text: '' }, { upgrade: true }))).toBe(
      error('MethodNotImplemented', { method: 'org.example.echo.Ping' }),
    );
  });

  test('ours carry code, errno, hint and detail', async () => {
    expect(JSON.parse(await answer(call('Fail', { how: 'ours' })))).toEqual({
      error: 'org.example.echo.NoFreeSlice',
      parameters: { code: 'NO_FREE_SLICE', errno: 'EBUSY', hint: 'wait', detail: 'all are taken' },
    });
  });

  test('a failed system call keeps its errno', async () => {
    expect(JSON.parse(await answer(call('Fail', { how: 'system' })))).toMatchObject({
      error: 'org.example.echo.SystemFailed',
      parameters: { code: 'SYSTEM_FAILED', errno: 'ENFILE', detail: 'open /dev/x: ENFILE' },
    });
  });

  test('a broken format inside of a call', async () => {
    expect(JSON.parse(await answer(call('Fail', { how: 'protocol' })))).toMatchObject({
      error: 'org.example.echo.FrameMalformed',
    });
  });

  test('a standard one of a handler', async () => {
    expect(await answer(call('Fail', { how: 'standard' }))).toBe(
      error('InvalidParameter', { parameter: 'how' }),
    );
  });

  test('a bug is reported here, and ends the connection without a word', async () => {
    expect(await answer(call('Fail', { how: 'bug' }))).toBe('(end)');
    expect(String(echo.bugs)).toBe('TypeError: a bug');
  });

  test('a reply that breaks the description is a bug', async () => {
    expect(await answer(call('Wrong', {}))).toBe('(end)');
    expect(String(echo.bugs)).toContain('answered InvalidParameter number');
  });

  test('a reply of the largest size, and one byte more', async () => {
    const largest = await answer(call('Large', { bytes: largestText }), [], 100);
    expect(largest.length).toBe(limits.varlinkReplyBytesMax);
    expect(JSON.parse(await answer(call('Large', { bytes: largestText + 1 })))).toMatchObject({
      error: 'org.example.echo.FrameTooLarge',
    });
  });
});

describe('order', () => {
  const slow = '{"method":"org.example.echo.Slow"}\0';
  const ping = (text: string) =>
    `${JSON.stringify({ method: 'org.example.echo.Ping', parameters: { text } })}\0`;

  test('calls are answered one after the other, however they come', async () => {
    const peer = connect();
    peer.socket.send(Buffer.from(slow + ping('a')));
    peer.raw(ping('b'));
    await turns();
    expect(peer.received).toBe('');
    expect(echo.calls).toEqual([]);
    echo.finishSlow();
    await turns();
    expect(peer.received).toBe(
      '{"parameters":{}}\n{"parameters":{"text":"a"}}\n{"parameters":{"text":"b"}}\n',
    );
  });

  test('a call in pieces of one byte', async () => {
    const peer = connect();
    for (const byte of Buffer.from(ping('ü'))) peer.raw(Uint8Array.of(byte));
    await turns(100);
    expect(peer.received).toBe('{"parameters":{"text":"ü"}}\n');
  });

  test('varlinkPendingMax calls may wait, one more ends the connection', async () => {
    const peer = connect();
    peer.raw(slow.repeat(limits.varlinkPendingMax));
    await turns();
    expect(peer.ended).toBe(false);
    peer.raw(slow);
    await turns();
    expect(peer.ended).toBe(true);
    expect(peer.received).toContain('"error":"org.example.echo.QuotaExceeded"');
  });

  test('a call that wants no reply gets none, not even an error', async () => {
    const oneway = { oneway: true, parameters: { text: 'x' } };
    const calls = ['Ping', 'None', 'Fail'].map(
      (name) => `${JSON.stringify({ method: `org.example.echo.${name}`, ...oneway })}\0`,
    );
    expect(await answer(`${calls.join('')}${ping('last')}`)).toBe(
      '{"parameters":{"text":"last"}}\n',
    );
    expect(echo.calls).toEqual(['x', 'last']);
  });

  test('a connection that ends is told to the handler of an open call', async () => {
    const peer = connect();
    peer.raw('{"method":"org.example.echo.Count","parameters":{"to":1000000},"more":true}\0');
    await turns();
    peer.socket[Symbol.dispose]();
    await turns();
    expect(echo.closedCount).toBe(1);
    expect(echo.service.connectionCount).toBe(0);
  });
});

describe('what breaks the protocol ends the connection', () => {
  const good = '{"method":"org.example.echo.Who"}\0';
  test.each([
    ['no JSON', 'hello\0', 'FrameMalformed'],
    ['nothing', '\0', 'FrameMalformed'],
    ['an array', '[]\0', 'FrameMalformed'],
    ['no method', '{}\0', 'FrameMalformed'],
    ['a method that is a number', '{"method":1}\0', 'FrameMalformed'],
    ['a flag that is a number', '{"method":"a.b.C","more":1}\0', 'FrameMalformed'],
    ['more and oneway', '{"method":"a.b.C","more":true,"oneway":true}\0', 'FrameMalformed'],
    ['an unknown member', '{"method":"a.b.C","moore":true}\0', 'FrameMalformed'],
    ['a member twice', '{"method":"a.b.C","method":"a.b.D"}\0', 'FrameMalformed'],
    ['deep nesting', `{"method":"a.b.C","parameters":${'['.repeat(5000)}\0`, 'FrameMalformed'],
    ['a huge number', `{"method":"a.b.C","parameters":{"a":1e999}}\0`, 'FrameMalformed'],
    ['a message without an end', 'x'.repeat(limits.varlinkMessageBytesMax), 'FrameTooLarge'],
  ])('%s', async (_, bytes, error) => {
    const peer = connect();
    peer.raw(good);
    await turns();
    peer.raw(`${bytes}${good}`);
    await turns();
    const [first, second, last] = peer.received.split('\n');
    expect(first).toBe('{"parameters":{"uid":1000,"more":false}}');
    expect(JSON.parse(second!).error).toBe(`org.example.echo.${error}`);
    expect(last).toBe('');
    expect(peer.ended).toBe(true);
  });

  test('bytes that are not UTF-8', async () => {
    const peer = connect();
    peer.raw(Buffer.from('{"method":"a.b.\xff"}\0', 'latin1'));
    await turns();
    expect(peer.ended).toBe(true);
    expect(peer.received).toContain('FrameMalformed');
  });

  test('a message of the largest size is served', async () => {
    const head = '{"method":"org.example.echo.Ping","parameters":{"text":"';
    const tail = '"}}\0';
    const text = 'x'.repeat(limits.varlinkMessageBytesMax - head.length - tail.length);
    expect(await answer(`${head}${text}${tail}`)).toContain(text);
    expect(await answer(`${head}${text}x${tail}`)).toContain('FrameTooLarge');
  });

  test('only for the peer that did it', async () => {
    const other = connect();
    await answer('hello\0');
    other.raw(good);
    await turns();
    expect(other.received).toBe('{"parameters":{"uid":1000,"more":false}}\n');
  });
});

describe('descriptors', () => {
  const take = (index: number) =>
    `{"method":"org.example.echo.Take","parameters":{"index":${index}}}\0`;

  test('go with a call, by index; what the handler leaves is closed', async () => {
    const [one, two] = [fds.create(), fds.create()];
    const number = two.number;
    expect(await answer(take(1), [one, two])).toBe('{"parameters":{"number":1}}\n');
    expect(echo.taken.map((fd) => fd.number)).toEqual([number]);
    expect(one.isOpen).toBe(false);
  });

  test.each([-1, 2, 0.5, 1e15])('at index %s is none', async (index) => {
    const reply = await answer(take(index), [fds.create(), fds.create()]);
    expect(reply).toMatch(index === 0.5 ? /InvalidParameter/ : /echo.FdRefused/);
    expect(reply).not.toContain('(end)');
  });

  test('are taken once', async () => {
    const peer = connect();
    peer.raw(take(0), [fds.create()]);
    peer.raw(take(0));
    await turns();
    expect(peer.received.split('\n')[1]).toContain('FdRefused');
  });

  test('one more than the method takes ends the connection', async () => {
    const three = [fds.create(), fds.create(), fds.create()];
    expect(await answer(take(0), three)).toMatch(/FdUnexpected.*\n\(end\)|^\(end\)/s);
    const ping = '{"method":"org.example.echo.Ping","parameters":{"text":""}}\0';
    expect(await answer(ping, [fds.create()])).toMatch(/FdUnexpected.*\n\(end\)/s);
    expect(echo.calls).toEqual([]);
  });

  test('that came with a broken message are closed', async () => {
    expect(await answer('hello\0', [fds.create()])).toContain('FrameMalformed');
  });

  test('of calls that wait when the peer goes are closed', async () => {
    const peer = connect();
    peer.raw('{"method":"org.example.echo.Slow"}\0');
    peer.raw(take(0), [fds.create()]);
    await turns();
    peer.socket[Symbol.dispose]();
    await turns();
    expect(fds.open.size).toBe(0);
  });

  test('that screening refused are answered so', async () => {
    const [socket, other] = createPipe(fds);
    other.refuseNext = 1;
    let received = '';
    socket.start(
      {
        wantBytes: () => 1000,
        data: (bytes) => {
          received += Buffer.from(bytes).toString();
        },
        end: () => {},
      },
      { fdsMax: 0 },
    );
    echo.service.accept(other);
    socket.send(Buffer.from(take(0)));
    await turns();
    expect(received).toContain('echo.FdRefused');
    socket[Symbol.dispose]();
  });

  test('go with a reply', async () => {
    const peer = connect();
    peer.raw('{"method":"org.example.echo.Give","parameters":{"count":3}}\0');
    await turns();
    expect(peer.received).toBe('{"parameters":{"indexes":[0,1,2]}}\n');
    expect(peer.fds).toHaveLength(3);
    for (const fd of peer.fds) fd.close();
  });

  test('of a reply that nobody wants are closed', async () => {
    await answer(
      '{"method":"org.example.echo.Give","parameters":{"count":3},"oneway":true}\0' +
        '{"method":"org.example.echo.Who"}\0',
    );
    await turns();
    expect(fds.open.size).toBe(0);
  });
});

describe('connections of one uid', () => {
  test('are at most connectionsPerUidMax', async () => {
    const peers = Array.from({ length: limits.connectionsPerUidMax }, () => connect(1001));
    const refused = connect(1001);
    const other = connect(1002);
    await turns();
    expect(refused.ended).toBe(true);
    expect(refused.received).toContain('QuotaExceeded');
    expect(other.ended).toBe(false);
    peers[0]!.socket[Symbol.dispose]();
    await turns();
    const next = connect(1001);
    await turns();
    expect(next.ended).toBe(false);
  });
});
