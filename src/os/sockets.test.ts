// Sockets of the machine: the contract, and what only a kernel does.
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isOsError, isProtocolError } from '../base/errors.js';
import { systemClock } from './clock.js';
import { OsEvents } from './events.js';
import { Fd } from './fd.js';
import { loadNative } from './native.js';
import { MSG_DONTWAIT, MSG_NOSIGNAL } from './socket-constants.js';
import { OsSockets } from './sockets.js';
import { openCount, openDescriptors } from './testing/open-descriptors.js';
import {
  Recorder,
  type SocketWorld,
  socketContract,
  turns,
  until,
} from './testing/socket-contract.js';
import { streamContract } from './testing/stream-contract.js';

const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const events = new OsEvents(native);
const folder = mkdtempSync(join(tmpdir(), 'lessor-sockets-'));
let pathCount = 0;
const freePath = (): string => join(folder, `socket-${pathCount++}`);
/** An eventfd whose counter tells it apart; reading resets it. */
const createFd = (number: number): Fd => new Fd(native, native.eventFd(number + 1, 0o2004000));

afterAll(() => rmSync(folder, { recursive: true }));

const createWorld = (): SocketWorld => ({
  sockets,
  createFd,
  numberOf: (fd) => Number(events.drain(fd)) - 1,
  openCount,
  freePath,
});

socketContract('the machine', createWorld);
streamContract('the machine', createWorld);

describe('sockets of the machine', () => {
  it('gives the socket file its mode, whatever the umask, and removes it', () => {
    const umask = process.umask(0o077);
    const path = freePath();
    const listener = sockets.listen(path, 0o666, () => {});
    process.umask(umask);
    expect(statSync(path).mode & 0o777).toBe(0o666);
    listener[Symbol.dispose]();
    expect(() => statSync(path)).toThrow('ENOENT');
  });

  it('leaves a file alone that took the place of its own', () => {
    const path = freePath();
    const listener = sockets.listen(path, 0o600, () => {});
    rmSync(path);
    writeFileSync(path, 'other');
    listener[Symbol.dispose]();
    expect(statSync(path).isFile()).toBe(true);
  });

  it('does not follow a symbolic link to bind', () => {
    const path = freePath();
    symlinkSync(freePath(), path);
    expect(() => sockets.listen(path, 0o600, () => {})).toThrow('EADDRINUSE');
  });

  it('tells a socket file that nobody listens on', () => {
    const path = freePath();
    const socket = native.socket(1, 1);
    const address = new Uint8Array([1, 0, ...Buffer.from(path), 0]);
    expect(native.bind(socket, address)).toBe(0);
    expect(() => sockets.connect(path)).toThrow('ECONNREFUSED');
    native.close(socket);
  });

  it('keeps descriptors from exec', () => {
    const [one, other] = sockets.pair();
    for (const fd of [one, other]) {
      expect(native.fcntl(fd.number, 1, 0)).toBe(1);
      fd.close();
    }
  });

  it('keeps received descriptors from exec', async () => {
    const [one, other] = sockets.pair();
    using near = sockets.stream(one);
    using far = sockets.stream(other);
    const recorder = new Recorder();
    far.start(recorder, { fdsMax: 1 });
    near.send(Uint8Array.of(1), [new Fd(native, native.eventFd(0, 0))]);
    await until(() => recorder.fds.length === 1, 'descriptor');
    const fd = recorder.fds[0];
    expect(fd && native.fcntl(fd.number, 1, 0)).toBe(1);
    fd?.close();
  });

  it('reports a reset when the peer closed with unread bytes', async () => {
    const [one, other] = sockets.pair();
    using near = sockets.stream(one);
    const far = sockets.stream(other);
    const recorder = new Recorder();
    near.start(recorder, { fdsMax: 0 });
    near.send(Uint8Array.of(1));
    far[Symbol.dispose]();
    await until(() => recorder.ends.length === 1, 'end');
    expect(recorder.ends.map((error) => isOsError(error, 'ECONNRESET'))).toEqual([true]);
  });

  it('makes the kernel refuse descriptors to the sender where none are expected', () => {
    const [one, other] = sockets.pair();
    using far = sockets.stream(other);
    far.start(new Recorder(), { fdsMax: 0 });
    const eventFd = createFd(0);
    const sent = native.sendMessage(
      one.number,
      Uint8Array.of(1),
      0,
      Int32Array.of(eventFd.number),
      MSG_DONTWAIT | MSG_NOSIGNAL,
    );
    // EPERM from Linux 6.16 on; before that the receiver ends the stream.
    expect([-1, 1]).toContain(sent);
    eventFd.close();
    one.close();
  });

  it('treats descriptors that did not fit as a protocol error, leaking none', async () => {
    const [one, other] = sockets.pair();
    using near = sockets.stream(one);
    using far = sockets.stream(other);
    const recorder = new Recorder();
    far.start(recorder, { fdsMax: 16 });
    near.send(
      Uint8Array.of(1),
      Array.from({ length: 8 }, () => createFd(0)),
    );
    const before = openCount();
    // Room for four of the eight: the kernel drops the rest and says so.
    const limit = native.getFileLimit();
    const numbers = [...openDescriptors().keys()].sort((a, b) => a - b);
    let free = 0;
    let soft = 0;
    while (free < 4) if (!numbers.includes(soft++)) free++;
    native.setFileLimit(soft);
    await until(() => recorder.ends.length === 1, 'end').finally(() => native.setFileLimit(limit));
    expect(recorder.ends.map(isProtocolError)).toEqual([true]);
    expect(String(recorder.ends[0])).toContain('lost');
    expect(recorder.reads).toEqual([]);
    expect(openCount()).toBe(before - 1);
  });

  it('waits with accepting while descriptors are exhausted, then goes on', async () => {
    const path = freePath();
    const accepted: Disposable[] = [];
    using listener = sockets.listen(path, 0o600, (stream) => accepted.push(stream));
    const client = sockets.connect(path);
    const limit = native.getFileLimit();
    native.setFileLimit(3);
    await turns(200).finally(() => native.setFileLimit(limit));
    expect(accepted.length).toBe(0);
    const startMs = systemClock.nowMs();
    while (accepted.length === 0 && systemClock.nowMs() - startMs < 15_000) {
      await new Promise((resolve) => systemClock.after(5, () => resolve(undefined)));
    }
    expect(accepted.length).toBe(1);
    expect(listener.path).toBe(path);
    for (const item of [client, ...accepted]) item[Symbol.dispose]();
  });

  it('names the peer by pidfd', () => {
    const [one, other] = sockets.pair();
    using stream = sockets.stream(one);
    const pidfd = stream.peerPidfd();
    expect(openDescriptors().get(pidfd.number)).toMatch(/pidfd/);
    expect(native.pidfdSendSignal(pidfd.number, 0)).toBe(0);
    expect(native.fcntl(pidfd.number, 1, 0)).toBe(1);
    pidfd.close();
    other.close();
  });

  it('does not let one busy peer starve another', async () => {
    const [one, other] = sockets.pair();
    using busy = sockets.stream(one);
    using busyFar = sockets.stream(other);
    const [three, four] = sockets.pair();
    using quiet = sockets.stream(three);
    using quietFar = sockets.stream(four);
    const flood = new Recorder();
    flood.want = 16;
    const seen: number[] = [];
    flood.onData = () => {
      // Always more to read: sent again as soon as it was read.
      busy.send(new Uint8Array(16));
    };
    busyFar.start(flood, { fdsMax: 0 });
    const recorder = new Recorder();
    recorder.onData = () => seen.push(flood.reads.length);
    quietFar.start(recorder, { fdsMax: 0 });
    busy.send(new Uint8Array(16 * 64));
    quiet.send(Uint8Array.of(1));
    await until(() => seen.length === 1, 'quiet peer');
    expect(seen[0]).toBeLessThanOrEqual(64);
  });
});
