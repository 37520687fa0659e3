// Every call of every path fails once: no descriptor is leaked, none is closed twice.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { systemClock } from '../clock.js';
import { OsEvents } from '../events.js';
import { closeAll, Fd } from '../fd.js';
import { OsHelperPool } from '../helper/pool.js';
import { loadNative, type NativeBinding } from '../native.js';
import { createOs } from '../os.js';
import { OsProcesses } from '../processes.js';
import { OsSockets } from '../sockets.js';
import { FaultyOs, failEveryCall } from './faulty-os.js';
import { openCount } from './open-descriptors.js';
import { Recorder, turns, until } from './socket-contract.js';

const native = loadNative();
// Makes what it makes once per process before anything is counted.
createOs(native).memory.create('lessor-test', 4096).close();
const folder = mkdtempSync(join(tmpdir(), 'lessor-faulty-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('FaultyOs', () => {
  it('fails the call that was named and no other', () => {
    const faulty = new FaultyOs(native);
    faulty.failNth(2, 'ENOMEM', 'eventFd');
    const { binding } = faulty;
    const first = binding.eventFd(0, 0);
    expect(first).toBeGreaterThanOrEqual(0);
    expect(binding.duplicate(first)).toBeGreaterThanOrEqual(0);
    expect(binding.eventFd(0, 0)).toBe(-12);
    expect(faulty.failedCall).toBe('eventFd');
    expect(binding.close(binding.eventFd(0, 0))).toBe(0);
    expect(faulty.callCount('eventFd')).toBe(3);
    expect(faulty.callCount()).toBe(5);
    faulty.failNth(1, 'EIO');
    expect(binding.close(first)).toBe(-5);
    expect(native.close(first)).toBe(-9);
    faulty.reset();
    expect(faulty.callCount()).toBe(0);
    expect(() => faulty.failNth(1, 'EIO', 'pollStop')).toThrow('cannot fail');
  });

  it('notices a leak on a failure path', async () => {
    const leaky = (binding: NativeBinding): void => {
      const one = new OsEvents(binding).createEventFd();
      // As code does that forgets its first descriptor when making the second one fails.
      const other = new OsEvents(binding).createEventFd();
      closeAll([one, other]);
    };
    const before = openCount();
    await expect(failEveryCall(native, leaky)).rejects.toThrow('call 2, eventFd, failed: leaked');
    expect(openCount()).toBe(before + 1);
  });

  it('passes on errors that are bugs', async () => {
    const broken = (): void => {
      throw new TypeError('a bug');
    };
    await expect(failEveryCall(native, broken)).rejects.toThrow('a bug');
  });
});

/** Both ways over a pair, large and small, with descriptors; whatever ends the streams ends it. */
async function talk(binding: NativeBinding): Promise<void> {
  const sockets = new OsSockets(binding, systemClock);
  const createFd = (): Fd => new Fd(binding, native.eventFd(0, 0));
  const [one, other] = sockets.pair();
  using near = sockets.stream(one);
  using far = sockets.stream(other);
  const recorders = [new Recorder(), new Recorder()];
  near.start(recorders[0] as Recorder, { fdsMax: 4 });
  far.start(recorders[1] as Recorder, { fdsMax: 4 });
  const isOver = (): boolean => recorders.some((recorder) => recorder.ends.length > 0);
  try {
    near.send(new Uint8Array(300_000), [createFd()]);
    near.send(Uint8Array.of(1), [createFd(), createFd()]);
    far.send(Uint8Array.of(2), [createFd()]);
    await until(() => isOver() || recorders[1]?.byteCount === 300_001, 'bytes');
    near.end();
    await until(isOver, 'end');
  } finally {
    for (const recorder of recorders) closeAll(recorder.fds);
  }
}

/** A connection by path, its peer's pidfd, its death. */
async function meet(binding: NativeBinding): Promise<void> {
  const sockets = new OsSockets(binding, systemClock);
  const processes = new OsProcesses(binding);
  const accepted: Disposable[] = [];
  using listener = sockets.listen(join(folder, 'socket'), 0o600, (stream) => {
    accepted.push(stream);
  });
  try {
    using client = sockets.connect(listener.path);
    await turns();
    using pidfd = client.peerPidfd();
    using self = processes.openPidfd(process.pid);
    using watch = processes.onExit(pidfd, () => {});
    expect(watch).toBeDefined();
    expect(processes.isSameProcess(pidfd, self)).toBe(true);
    processes.signal(self, 0);
  } finally {
    for (const stream of accepted) stream[Symbol.dispose]();
  }
}

describe('wherever a call fails', () => {
  it.each(['EMFILE', 'EINTR', 'EAGAIN', 'EPIPE'] as const)(
    'streams keep and leak nothing: %s',
    async (errno) => {
      // With EAGAIN or EINTR made up, some runs go on as if nothing had been.
      expect(await failEveryCall(native, talk, { errno })).toBeGreaterThan(20);
    },
  );

  it('listening and connecting keep and leak nothing', async () => {
    const settle = async (): Promise<void> => {
      await turns();
      rmSync(join(folder, 'socket'), { force: true });
    };
    expect(await failEveryCall(native, meet, { settle })).toBeGreaterThan(10);
  });

  it('events keep and leak nothing', async () => {
    const scenario = (binding: NativeBinding): void => {
      const events = new OsEvents(binding);
      using fd = events.createEventFd();
      using watch = events.watch(fd, () => {});
      using signaller = events.createSignaller();
      signaller.signal(fd.number);
      events.drain(fd);
      expect(watch).toBeDefined();
    };
    expect(await failEveryCall(native, scenario)).toBeGreaterThan(8);
  });

  it('helpers keep and leak nothing', async () => {
    const scenario = async (binding: NativeBinding): Promise<void> => {
      const { memory, sockets } = createOs(binding);
      const pool = new OsHelperPool(binding, systemClock);
      const terms = { uid: 1, deadlineMs: 300 };
      const made: Disposable[] = [];
      const own = <T extends Disposable>(item: T): T => {
        made.push(item);
        return item;
      };
      try {
        const fd = own(memory.create('lessor-test', 4096));
        await pool.truncate(fd, 8192, terms);
        await pool.seal(fd, 1, terms);
        const [one, other] = sockets.pair().map(own);
        const near = own(sockets.stream(one as Fd));
        near.send(Uint8Array.of(1), [fd.duplicate()]);
        const received = await pool.receive(other as Fd, 10, 4, terms);
        closeAll(received.fds);
      } finally {
        await pool[Symbol.asyncDispose]();
        for (const item of made) item[Symbol.dispose]();
      }
    };
    expect(await failEveryCall(native, scenario)).toBeGreaterThan(20);
  });

  it('a program that cannot be entered costs nothing but its descriptors', async () => {
    // Up to the point where descriptors of the event loop would be overwritten.
    for (const name of ['fcntl'] as const) {
      const scenario = (binding: NativeBinding): void => {
        const fds = [0, 1].map(() => new Fd(binding, native.eventFd(0, 0)));
        const request = { path: '/bin/true', argv: ['true'], environment: {}, fds };
        const faulty = new FaultyOs(binding);
        faulty.failNth(2, 'EMFILE', name);
        expect(() => new OsProcesses(faulty.binding).exec(request)).toThrow('EMFILE');
        expect(fds.some((fd) => fd.isOpen)).toBe(false);
      };
      const before = openCount();
      scenario(native);
      expect(openCount()).toBe(before);
    }
  });
});
