// Streams from peers that are not trusted: no descriptor of theirs gets into this process unseen.
import { openSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError, LessorError } from '../base/errors.js';
import { systemClock } from './clock.js';
import { closeAll, Fd } from './fd.js';
import { OsHelperPool } from './helper/pool.js';
import type { HelperPool, Received } from './helper-types.js';
import { createMemoryOs } from './memory.js';
import { loadNative, type NativeBinding } from './native.js';
import { receiveReport } from './native-sockets.js';
import { MSG_OOB } from './socket-constants.js';
import type { StreamSocket } from './socket-types.js';
import { OsSockets } from './sockets.js';
import { openCount, openDescriptors } from './testing/open-descriptors.js';
import { Recorder, turns, until } from './testing/socket-contract.js';

const native = loadNative();
const memory = createMemoryOs(native);
const pool = new OsHelperPool(native, systemClock);
afterAll(() => pool[Symbol.asyncDispose]());

/** Counts what the stream asks of helpers, and of the kernel with room for descriptors. */
let helped: number;
let controlReads: number;
const helpers: Pick<HelperPool, 'receive'> = {
  receive: (...given) => {
    helped++;
    return pool.receive(...given);
  },
};
const watched: NativeBinding = {
  ...native,
  receiveMessage: (fd, bytes, lengthBytes, report, flags, withControl) => {
    if (withControl && fd === watchedFd) controlReads++;
    return native.receiveMessage(fd, bytes, lengthBytes, report, flags, withControl);
  },
};
let watchedFd = -1;
const sockets = new OsSockets(watched, systemClock);

let near: Fd;
let far: StreamSocket;
let recorder: Recorder;
let before: number;

function start(fdsMax: number, screening: Pick<HelperPool, 'receive'> = helpers): void {
  far.start(recorder, { fdsMax, screen: { helpers: screening as HelperPool, uid: 1000 } });
}

function send(bytes: number[], fds: Fd[] = [], flags = 0): number {
  const numbers = fds.length === 0 ? undefined : Int32Array.from(fds, (fd) => fd.number);
  const sent = native.sendMessage(near.number, Uint8Array.from(bytes), 0, numbers, flags);
  closeAll(fds);
  return sent;
}

const createMemory = (name: string): Fd => memory.create(`lessor-${name}`, 4096);
const createOther = (): Fd => new Fd(native, openSync('/dev/null', 'r'));

async function helpersIdle(): Promise<void> {
  await pool.seal(near, 0, { uid: 1, deadlineMs: 5000 }).catch(() => {});
}

beforeEach(async () => {
  helped = 0;
  controlReads = 0;
  recorder = new Recorder();
  const [one, other] = sockets.pair();
  near = one;
  watchedFd = other.number;
  far = sockets.stream(other);
  await helpersIdle();
  before = openCount();
});

afterEach(async () => {
  closeAll(recorder.fds);
  near.close();
  far[Symbol.dispose]();
  await helpersIdle().catch(() => {});
});

describe('a screened stream', () => {
  it('does not pay for a helper where bytes come alone', async () => {
    start(16);
    recorder.want = 4;
    for (let index = 0; index < 50; index++) send([1, 2, 3, 4, 5, 6]);
    await until(() => recorder.byteCount === 300, 'bytes');
    expect(helped).toBe(0);
    expect(controlReads).toBe(0);
    near.close();
    await until(() => recorder.ends.length === 1, 'end');
    expect(recorder.ends).toEqual([undefined]);
  });

  it('takes memory and refuses the rest, with no byte out of place', async () => {
    start(16);
    recorder.want = 3;
    send([1, 2, 3, 4]);
    send([5, 6, 7, 8, 9], [createOther(), createMemory('a'), createOther(), createMemory('b')]);
    send([10]);
    await until(() => recorder.byteCount === 10, 'bytes');
    expect([...recorder.bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const names = recorder.fds.map((fd) => openDescriptors().get(fd.number));
    expect(names).toEqual(['/memfd:lessor-a (deleted)', '/memfd:lessor-b (deleted)']);
    const carrier = recorder.reads.find((read) => read.fds.length > 0);
    expect(carrier?.refusedCount).toBe(2);
    expect(carrier?.bytes).toContain(5);
    expect(controlReads).toBe(0);
    expect(helped).toBeGreaterThan(0);
    closeAll(recorder.fds);
    expect(openCount()).toBe(before);
  });

  it('ends on too many descriptors', async () => {
    start(2);
    send([1], [createMemory('a'), createMemory('b'), createMemory('c')]);
    await until(() => recorder.ends.length === 1, 'end');
    expect(recorder.ends.map(isProtocolError)).toEqual([true]);
    expect(recorder.reads).toEqual([]);
    expect(openCount()).toBe(before - 1);
  });

  it('ends on any descriptor where none is expected, without a helper', async () => {
    send([1], [createMemory('a')]);
    start(0);
    await until(() => recorder.ends.length === 1, 'end');
    expect(recorder.ends.map(isProtocolError)).toEqual([true]);
    expect(helped).toBe(0);
    expect(openCount()).toBe(before - 1);
  });

  it('is not fooled by out-of-band bytes', async () => {
    // Peeking skips an out-of-band byte; a second one makes the first an ordinary one, which the
    // read that follows would take, with its descriptor.
    let fooled = false;
    const racing: NativeBinding = {
      ...native,
      receiveMessage: (fd, bytes, lengthBytes, report, flags, withControl) => {
        const got = native.receiveMessage(fd, bytes, lengthBytes, report, flags, withControl);
        if (fd === watchedFd && !fooled) {
          fooled = true;
          send([9], [], MSG_OOB);
        }
        if (got > 0 && withControl) controlReads += report[receiveReport.count] ?? 0;
        return got;
      },
    };
    far = new OsSockets(racing, systemClock).stream(new Fd(native, far.fd.release()));
    expect(send([7], [createOther()], MSG_OOB)).toBe(1);
    expect(send([1, 2, 3, 4])).toBe(4);
    start(16);
    await until(() => recorder.byteCount >= 6 || recorder.ends.length > 0, 'bytes');
    expect(controlReads).toBe(0);
    expect(recorder.fds).toEqual([]);
    expect(recorder.reads.map((read) => read.refusedCount)).toContain(1);
    expect([...recorder.bytes]).toEqual([7, 1, 2, 3, 4, 9]);
  });

  it('reads nothing while a helper works', async () => {
    let answer: (received: Received) => void = () => {};
    start(16, { receive: () => new Promise((resolve) => (answer = resolve)) });
    send([1], [createMemory('a')]);
    send([2]);
    await turns(100);
    expect(recorder.reads).toEqual([]);
    // As a helper would: the byte is taken from the socket.
    const taken = new Int32Array(receiveReport.length);
    expect(native.receiveMessage(far.fd.number, new Uint8Array(9), 9, taken, 0, true)).toBe(1);
    const fd = new Fd(native, taken[receiveReport.fds] ?? -1);
    answer({ bytes: Uint8Array.of(1), fds: [fd], refusedCount: 0 });
    await until(() => recorder.byteCount === 2, 'bytes');
    expect(recorder.reads.map((read) => read.fds.length)).toEqual([1, 0]);
  });

  it('ends when the helper does not answer in time', async () => {
    const late = new LessorError('DEADLINE_EXCEEDED', 'test');
    start(16, { receive: () => Promise.reject(late) });
    send([1], [createMemory('a')]);
    await until(() => recorder.ends.length === 1, 'end');
    expect(isLessorError(recorder.ends[0], 'DEADLINE_EXCEEDED')).toBe(true);
    expect(far.isOpen).toBe(false);
  });

  it('ends when the helper dies', async () => {
    const listener = new OsHelperPool(native, systemClock);
    start(16, {
      receive: (...given) => {
        const result = listener.receive(...given);
        for (const pid of listener.pids) process.kill(pid, 'SIGKILL');
        return result;
      },
    });
    await listener.seal(near, 0, { uid: 1, deadlineMs: 5000 }).catch(() => {});
    send([1], [createMemory('a')]);
    await until(() => recorder.reads.length + recorder.ends.length > 0, 'either');
    // It may just have answered before it died.
    if (recorder.ends.length > 0) expect(isOsError(recorder.ends[0], 'EIO')).toBe(true);
    await listener[Symbol.asyncDispose]();
  });

  it('gives back what arrives after it was disposed, and tells the peer at once', async () => {
    let answer: (received: Received) => void = () => {};
    start(16, { receive: () => new Promise((resolve) => (answer = resolve)) });
    const copy = far.fd.duplicate();
    send([1], [createMemory('a')]);
    await turns(100);
    far[Symbol.dispose]();
    // A helper still holds the socket: without shutdown the peer would wait for it.
    const report = new Int32Array(receiveReport.length);
    const got = native.receiveMessage(near.number, new Uint8Array(1), 1, report, 0x40, false);
    expect([0, -104]).toContain(got);
    const fd = createMemory('late');
    answer({ bytes: Uint8Array.of(1), fds: [fd], refusedCount: 0 });
    await turns();
    expect(fd.isOpen).toBe(false);
    expect(recorder.reads).toEqual([]);
    expect(recorder.ends).toEqual([]);
    copy.close();
  });
});
