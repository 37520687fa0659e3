// Helper processes for real: what they do, what they keep, and what happens when they are held.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { systemClock } from '../clock.js';
import { OsEvents } from '../events.js';
import { closeAll, Fd } from '../fd.js';
import { createMemoryOs } from '../memory.js';
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK } from '../memory-types.js';
import { loadNative } from '../native.js';
import { checkResult } from '../native-result.js';
import { OsSockets } from '../sockets.js';
import { openCount, openDescriptors } from '../testing/open-descriptors.js';
import { Recorder, until } from '../testing/socket-contract.js';
import { OsHelperPool } from './pool.js';

const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const memory = createMemoryOs(native);
const events = new OsEvents(native);
const folder = mkdtempSync(join(tmpdir(), 'lessor-helper-'));
const isRoot = process.getuid?.() === 0;
const terms = { uid: 1000, deadlineMs: 5000 };

const sleep = (delayMs: number): Promise<void> =>
  new Promise((resolve) => systemClock.after(delayMs, () => resolve()));

async function eventually(condition: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 2000; round++) {
    if (condition()) return;
    await sleep(5);
  }
  expect.fail(`never happened: ${what}`);
}

/** A listening socket that nobody connects to: accepting on it blocks for ever. */
function createListener(name: string): Fd {
  const address = new Uint8Array([1, 0, ...Buffer.from(join(folder, name)), 0]);
  const fd = new Fd(native, native.socket(1, 0o2000001));
  expect(native.bind(fd.number, address)).toBe(0);
  expect(native.listen(fd.number, 16)).toBe(0);
  return fd;
}

let pool: OsHelperPool;
let before: number;

beforeEach(() => {
  before = openCount();
  pool = new OsHelperPool(native, systemClock);
});

afterEach(async () => {
  await pool[Symbol.asyncDispose]();
  await eventually(() => openCount() === before, 'nothing leaked');
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('operations', () => {
  it('truncate', async () => {
    const fd = memory.create('lessor-test', 8192);
    await pool.truncate(fd, 4096, terms);
    expect(memory.identity(fd).lengthBytes).toBe(4096);
    memory.addSeals(fd, F_SEAL_SHRINK);
    const error = await pool.truncate(fd, 0, terms).catch((reason: unknown) => reason);
    expect(isOsError(error, 'EPERM')).toBe(true);
    fd.close();
  });

  it('seal, whether or not that was still allowed', async () => {
    const fd = memory.create('lessor-test', 8192);
    expect(await pool.seal(fd, F_SEAL_GROW, terms)).toEqual({ seals: 4, lengthBytes: 8192 });
    memory.addSeals(fd, F_SEAL_SEAL);
    expect(await pool.seal(fd, F_SEAL_SHRINK, terms)).toEqual({ seals: 5, lengthBytes: 8192 });
    fd.close();
    const eventFd = events.createEventFd();
    const error = await pool.seal(eventFd, 0, terms).catch((reason: unknown) => reason);
    expect(isOsError(error, 'EINVAL')).toBe(true);
    eventFd.close();
  });

  it('accept a connection that works', async () => {
    const listener = createListener('accept');
    const client = sockets.connect(join(folder, 'accept'));
    const server = await pool.accept(listener, terms);
    expect(server.credentials().pid).toBe(process.pid);
    const recorder = new Recorder();
    server.start(recorder, { fdsMax: 0 });
    client.send(Uint8Array.of(5));
    await until(() => recorder.byteCount === 1, 'byte');
    for (const item of [listener, client, server]) item[Symbol.dispose]();
  });

  it('refuse a descriptor that was closed meanwhile', async () => {
    const fd = memory.create('lessor-test', 4096);
    fd.close();
    const error = await pool.truncate(fd, 0, terms).catch((reason: unknown) => reason);
    expect(isOsError(error, 'EBADF')).toBe(true);
  });
});

describe('receive', () => {
  function pair(): [Fd, Fd] {
    const [near, far] = sockets.pair();
    return [near, far];
  }

  function sendFds(fd: Fd, bytes: Uint8Array, fds: readonly Fd[]): void {
    const numbers = Int32Array.from(fds, (each) => each.number);
    expect(native.sendMessage(fd.number, bytes, 0, numbers, 0)).toBe(bytes.length);
    closeAll(fds);
  }

  it('passes on memory, eventfds and listening sockets alone, in their order', async () => {
    const [near, far] = pair();
    const file = join(folder, 'file');
    writeFileSync(file, 'content');
    const own = (number: number): Fd => new Fd(native, number);
    const [connected, other] = pair();
    const fds = [
      own(openSync(file, 'r')),
      memory.create('lessor-kept', 4096),
      own(openSync('/dev/null', 'r')),
      events.createEventFd(),
      connected,
      createListener('passed'),
      own(native.pidfdOpen(process.pid)),
      own(openSync(folder, 'r')),
      own(native.socket(1, 0o2000001)),
    ];
    sendFds(far, Uint8Array.of(1, 2, 3), fds);
    const received = await pool.receive(near, 2, 16, terms);
    expect([...received.bytes]).toEqual([1, 2]);
    expect(received.refusedCount).toBe(6);
    const names = received.fds.map((fd) => openDescriptors().get(fd.number));
    expect(names).toEqual([
      '/memfd:lessor-kept (deleted)',
      'anon_inode:[eventfd]',
      expect.stringContaining('socket:'),
    ]);
    for (const fd of received.fds) expect(native.fcntl(fd.number, 1, 0)).toBe(1);
    const rest = await pool.receive(near, 100, 16, terms);
    expect([[...rest.bytes], rest.fds]).toEqual([[3], []]);
    closeAll([...received.fds, near, far, other]);
  });

  it('tells end-of-file from nothing there', async () => {
    const [near, far] = pair();
    const error = await pool.receive(near, 100, 16, terms).catch((reason: unknown) => reason);
    expect(isOsError(error, 'EAGAIN')).toBe(true);
    far.close();
    expect((await pool.receive(near, 100, 16, terms)).bytes.length).toBe(0);
    near.close();
  });

  it('passes descriptors up to the limit, and none one past it', async () => {
    const [near, far] = pair();
    const create = (count: number): Fd[] =>
      Array.from({ length: count }, () => events.createEventFd());
    sendFds(far, Uint8Array.of(1), create(3));
    const received = await pool.receive(near, 100, 3, terms);
    expect(received.fds.length).toBe(3);
    closeAll(received.fds);
    sendFds(far, Uint8Array.of(1), create(4));
    const error = await pool.receive(near, 100, 3, terms).catch((reason: unknown) => reason);
    expect(isProtocolError(error)).toBe(true);
    sendFds(far, Uint8Array.of(1), create(253));
    const many = await pool.receive(near, 100, 253, terms);
    expect(many.fds.length).toBe(253);
    closeAll([...many.fds, near, far]);
  });

  it('reads a large message in parts', async () => {
    const [near, far] = pair();
    const bytes = Uint8Array.from({ length: 90_000 }, (_, index) => index % 251);
    sendFds(far, bytes, [events.createEventFd()]);
    const parts: Uint8Array[] = [];
    let fdCount = 0;
    for (let left = bytes.length; left > 0; left -= parts.at(-1)?.length ?? 0) {
      const received = await pool.receive(near, 1_000_000, 16, terms);
      expect(received.bytes.length).toBeLessThanOrEqual(65_536);
      parts.push(received.bytes);
      fdCount += received.fds.length;
      closeAll(received.fds);
    }
    expect(Buffer.compare(Buffer.concat(parts), bytes)).toBe(0);
    expect(fdCount).toBe(1);
    closeAll([near, far]);
  });

  it('answers before it closes what can hold it, and is replaced when held', async () => {
    const [near, far] = pair();
    // Closing a TCP socket that lingers waits for a peer that does not read.
    let deaf: Socket | undefined;
    const server = await new Promise<Server>((resolve) => {
      const listening = createServer({ pauseOnConnect: true }, (socket) => {
        deaf = socket;
      }).listen(0, '127.0.0.1', () => resolve(listening));
    });
    const { port } = server.address() as { port: number };
    const client = await new Promise<Socket>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket));
    });
    client.on('error', () => {});
    client.write(new Uint8Array(8_000_000));
    await sleep(50);
    const clientFd = (client as unknown as { _handle: { fd: number } })._handle.fd;
    const linger = new Uint8Array(Int32Array.of(1, 60).buffer);
    expect(native.setSocketOption(clientFd, 1, 13, linger)).toBe(0);
    sendFds(far, Uint8Array.of(1), [new Fd(native, native.duplicate(clientFd))]);
    client.destroy();
    await sleep(20);

    const startMs = systemClock.nowMs();
    const received = await pool.receive(near, 100, 16, { uid: 1000, deadlineMs: 700 });
    expect(systemClock.nowMs() - startMs).toBeLessThan(600);
    expect(received.refusedCount).toBe(1);
    const held = pool.pids[0] ?? 0;
    expect(existsSync(`/proc/${held}`)).toBe(true);
    // Others are served meanwhile.
    expect((await pool.seal(memoryFd(), 0, terms)).lengthBytes).toBe(4096);
    await eventually(() => !pool.pids.includes(held), 'the held helper is given up');
    expect(systemClock.nowMs() - startMs).toBeGreaterThan(600);
    closeAll([near, far, ...memoryFds.splice(0)]);
    deaf?.on('error', () => {}).destroy();
    server.close();
  });
});

const memoryFds: Fd[] = [];
function memoryFd(): Fd {
  const fd = memory.create('lessor-test', 4096);
  memoryFds.push(fd);
  return fd;
}

describe('helpers that are held', () => {
  it('are given up at the deadline and replaced', async () => {
    const listener = createListener('stuck');
    const startMs = systemClock.nowMs();
    const stuck = pool.accept(listener, { uid: 1000, deadlineMs: 100 });
    const result = stuck.catch((reason: unknown) => {
      expect(pool.stuckCount).toBe(1);
      return reason;
    });
    expect(pool.stuckCount).toBe(0);
    expect(isLessorError(await result, 'DEADLINE_EXCEEDED')).toBe(true);
    expect(systemClock.nowMs() - startMs).toBeGreaterThanOrEqual(100);
    expect((await pool.seal(memoryFd(), 0, terms)).lengthBytes).toBe(4096);
    await eventually(() => pool.stuckCount === 0, 'it ended');
    closeAll([listener, ...memoryFds.splice(0)]);
  });

  it('of one uid do not keep another waiting', async () => {
    const listener = createListener('others');
    const held = { uid: 1000, deadlineMs: 1000 };
    let overCount = 0;
    const stuck = Array.from({ length: 20 }, () =>
      pool.accept(listener, held).catch(() => overCount++),
    );
    await pool.seal(memoryFd(), 0, { uid: 1001, deadlineMs: 5000 });
    expect(overCount).toBe(0);
    expect(pool.pids.length).toBeLessThanOrEqual(limits.helperOperationsPerUidMax + 2);
    await Promise.all(stuck);
    expect(overCount).toBe(20);
    closeAll([listener, ...memoryFds.splice(0)]);
  });

  it('make others of their uid wait, up to a limit', async () => {
    const fd = memoryFd();
    // No helper of it is ready in this turn: all have to wait.
    const other = new OsHelperPool(native, systemClock);
    const submit = (uid: number): Promise<unknown> =>
      other.seal(fd, 0, { uid, deadlineMs: 60_000 }).catch((reason: unknown) => reason);
    const waiting = Array.from({ length: limits.helperWaitersPerUidMax }, () => submit(1000));
    expect(isLessorError(await submit(1000), 'QUOTA_EXCEEDED')).toBe(true);
    expect(await submit(1001)).toEqual({ seals: 0, lengthBytes: 4096 });
    await other[Symbol.asyncDispose]();
    const results = await Promise.all(waiting);
    expect(results.some((reason) => isLessorError(reason, 'QUOTA_EXCEEDED'))).toBe(false);
    closeAll(memoryFds.splice(0));
  });

  it('leave when a burst is over, until one is to spare', async () => {
    const other = new OsHelperPool(native, systemClock);
    const fd = memoryFd();
    const uids = [1, 2, 3, 4, 5];
    await Promise.all(uids.map((uid) => other.seal(fd, 0, { uid, deadlineMs: 60_000 })));
    expect(other.pids.length).toBeGreaterThan(1);
    await eventually(() => other.pids.length === 1, 'one to spare');
    expect((await other.seal(fd, 0, terms)).lengthBytes).toBe(4096);
    await other[Symbol.asyncDispose]();
    closeAll(memoryFds.splice(0));
  });

  it('fail their operation when killed, and are replaced', async () => {
    const listener = createListener('killed');
    const accept = pool.accept(listener, terms).catch((reason: unknown) => reason);
    await eventually(() => pool.pids.length >= 2, 'busy and spare');
    for (const pid of pool.pids) process.kill(pid, 'SIGKILL');
    expect(isOsError(await accept, 'EIO')).toBe(true);
    expect((await pool.seal(memoryFd(), 0, terms)).lengthBytes).toBe(4096);
    closeAll([listener, ...memoryFds.splice(0)]);
  });
});

describe('a helper process', () => {
  it.skipIf(!isRoot)('holds nothing but its stream (listing needs root)', async () => {
    const eventFd = events.createEventFd();
    const inherited = new Fd(native, native.dup3(eventFd.number, 200, 0));
    const other = new OsHelperPool(native, systemClock);
    await other.seal(memoryFd(), 0, terms);
    const pid = other.pids[0] ?? 0;
    await eventually(() => openDescriptors(pid).size === 4, 'four descriptors');
    const found = [...openDescriptors(pid)].sort(([one], [two]) => one - two);
    expect(found).toEqual([
      [0, '/dev/null'],
      [1, '/dev/null'],
      [2, '/dev/null'],
      [3, expect.stringContaining('socket:')],
    ]);
    await other[Symbol.asyncDispose]();
    closeAll([eventFd, inherited]);
    closeAll(memoryFds.splice(0));
  });

  it('drops what the one who started it forgot to close', async () => {
    const [near, far] = sockets.pair();
    using stream = sockets.stream(near);
    const recorder = new Recorder();
    stream.start(recorder, { fdsMax: 0 });
    // Without close-on-exec: the helper is started with it.
    const forgotten = new Fd(native, checkResult(native.dup3(far.number, 200, 0), 'dup3'));
    const other = new OsHelperPool(native, systemClock);
    closeAll([far, forgotten]);
    await until(() => recorder.ends.length === 1, 'end-of-file while the helper lives');
    expect(await other.seal(memoryFd(), 0, terms)).toEqual({ seals: 0, lengthBytes: 4096 });
    await other[Symbol.asyncDispose]();
    closeAll(memoryFds.splice(0));
  });

  it('carries its name and default signals', async () => {
    await pool.seal(memoryFd(), 0, terms);
    const pid = pool.pids[0] ?? 0;
    expect(readFileSync(`/proc/${pid}/comm`, 'latin1')).toBe('lessor-helper\n');
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    for (const kind of ['Blk', 'Ign', 'Cgt']) {
      expect(status).toMatch(new RegExp(`^Sig${kind}:\\t0+$`, 'm'));
    }
    closeAll(memoryFds.splice(0));
  });

  it('ends with the process that started it, however that ends', async () => {
    const script = `
      import { loadNative } from ${JSON.stringify(new URL('../native.js', import.meta.url).href)};
      import { systemClock } from ${JSON.stringify(new URL('../clock.js', import.meta.url).href)};
      import { OsHelperPool } from ${JSON.stringify(new URL('./pool.js', import.meta.url).href)};
      const pool = new OsHelperPool(loadNative(), systemClock);
      console.log(pool.pids[0]);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    const helper = Number(
      await new Promise((resolve) => child.stdout.once('data', (data) => resolve(String(data)))),
    );
    expect(existsSync(`/proc/${helper}`)).toBe(true);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    const isGone = (): boolean => {
      if (!existsSync(`/proc/${helper}`)) return true;
      return / [ZX] /.test(readFileSync(`/proc/${helper}/stat`, 'latin1'));
    };
    await eventually(isGone, 'the helper ended');
  });

  it('does not keep the process that started it alive', () => {
    const script = `
      import { createOs } from ${JSON.stringify(new URL('../os.js', import.meta.url).href)};
      const helpers = createOs().createHelpers();
      setTimeout(() => console.log(helpers.stuckCount), 50);`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 10_000,
    });
    expect(String(done.stderr)).toBe('');
    expect(String(done.stdout)).toBe('0\n');
    expect(done.status).toBe(0);
  });
});

describe('the pool', () => {
  it('says so when the program is missing', () => {
    let error: unknown;
    try {
      new OsHelperPool(native, systemClock, join(folder, 'missing'));
    } catch (caught) {
      error = caught;
    }
    expect(isLessorError(error, 'NATIVE_MISSING')).toBe(true);
  });

  it('survives a program that cannot be run', async () => {
    const path = join(folder, 'broken');
    writeFileSync(path, 'not a program', { mode: 0o755 });
    const broken = new OsHelperPool(native, systemClock, path);
    const error = await broken
      .seal(memoryFd(), 0, { uid: 1000, deadlineMs: 200 })
      .catch((reason: unknown) => reason);
    expect(isLessorError(error, 'DEADLINE_EXCEEDED')).toBe(true);
    await broken[Symbol.asyncDispose]();
    closeAll(memoryFds.splice(0));
  });

  it('cancels what is under way when disposed', async () => {
    const listener = createListener('disposed');
    const other = new OsHelperPool(native, systemClock);
    const results = Array.from({ length: 6 }, () =>
      other.accept(listener, terms).catch((reason: unknown) => reason),
    );
    await sleep(50);
    const pids = other.pids;
    await other[Symbol.asyncDispose]();
    for (const reason of await Promise.all(results)) {
      expect(isOsError(reason, 'ECANCELED')).toBe(true);
    }
    for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(false);
    const late = await other.accept(listener, terms).catch((reason: unknown) => reason);
    expect(isOsError(late, 'ECANCELED')).toBe(true);
    listener.close();
  });
});
