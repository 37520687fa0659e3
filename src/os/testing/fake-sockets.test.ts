// The fake sockets keep the contract of the real ones; the fake processes do what is asked.
import { describe, expect, it } from 'vitest';
import { isOsError } from '../../base/errors.js';
import { systemClock } from '../clock.js';
import { FakeFile } from './fake-files.js';
import { FakeKernel } from './fake-kernel.js';
import { FakeProcesses } from './fake-processes.js';
import { FakeSockets } from './fake-sockets.js';
import { Recorder, type SocketWorld, socketContract, turns, until } from './socket-contract.js';
import { streamContract } from './stream-contract.js';

let pathCount = 0;

function createWorld(): SocketWorld {
  const kernel = new FakeKernel();
  return {
    sockets: new FakeSockets(kernel, systemClock),
    createFd: (number) => kernel.create('memory', number),
    numberOf: (fd) => kernel.file(fd.number)?.label ?? -1,
    openCount: () => kernel.openCount,
    freePath: () => `/fake/${pathCount++}`,
  };
}

socketContract('fake', createWorld);
streamContract('fake', createWorld);

describe('fake processes', () => {
  const client = { pid: 77, uid: 1001, gid: 1002 };

  it('are who connects, and their death is told', async () => {
    const kernel = new FakeKernel();
    const sockets = new FakeSockets(kernel, systemClock);
    const processes = new FakeProcesses(kernel);
    const accepted: ReturnType<typeof sockets.stream>[] = [];
    using listener = sockets.listen('/fake/broker', 0o600, (stream) => accepted.push(stream));
    using near = kernel.actAs(client, () => sockets.connect(listener.path));
    await until(() => accepted.length === 1, 'connection');
    const stream = accepted[0];
    expect(stream?.credentials()).toEqual(client);
    expect(near.credentials().pid).toBe(process.pid);
    const pidfd = stream?.peerPidfd();
    if (stream === undefined || pidfd === undefined) return expect.fail('no connection');
    const other = processes.openPidfd(78);
    expect(processes.pidOf(pidfd)).toBe(77);
    expect(processes.isSameProcess(pidfd, pidfd.duplicate())).toBe(true);
    expect(processes.isSameProcess(pidfd, other)).toBe(false);
    processes.signal(pidfd, 15);
    expect(processes.signals).toEqual([{ pid: 77, signal: 15 }]);

    let exits = 0;
    processes.onExit(pidfd, () => exits++);
    processes.onExit(other, () => (exits += 10));
    await turns();
    expect(exits).toBe(0);
    const recorder = new Recorder();
    stream.start(recorder, { fdsMax: 0 });
    kernel.exit(77);
    await until(() => exits === 1, 'exit');
    await turns();
    expect(exits).toBe(1);
    // Someone else may hold its socket: end-of-file is another matter.
    expect(recorder.ends).toEqual([]);
    expect(processes.pidOf(pidfd)).toBeUndefined();
    for (const attempt of [
      () => processes.signal(pidfd, 9),
      () => processes.openPidfd(77),
      () => stream.peerPidfd(),
    ]) {
      expect(attempt).toThrow('ESRCH');
    }
  });

  it('do not become another program', () => {
    const kernel = new FakeKernel();
    const fd = kernel.create('memory', 1);
    const processes = new FakeProcesses(kernel);
    processes.setDumpable(false);
    expect(processes.isDumpable).toBe(false);
    const request = { path: '/bin/true', argv: [], environment: {}, fds: [fd] };
    expect(() => processes.exec(request)).toThrow('ENOSYS');
    expect(kernel.openCount).toBe(0);
  });
});

describe('fake descriptors', () => {
  it('know when nobody refers to a file any more, in flight included', () => {
    let released = 0;
    class Watched extends FakeFile {
      override onReleased(): void {
        released++;
      }
    }
    const kernel = new FakeKernel();
    const sockets = new FakeSockets(kernel, systemClock);
    const number = kernel.install(new Watched('memory', 1));
    const [one, two] = sockets.pair();
    const sent = kernel.sendMessage(one.number, Uint8Array.of(1), 0, Int32Array.of(number), 0);
    expect(sent).toBe(1);
    kernel.close(number);
    expect(released).toBe(0);
    one.close();
    two.close();
    expect(released).toBe(1);
    expect(kernel.close(number)).toBe(-9);
  });

  it('answer as Linux does', () => {
    const kernel = new FakeKernel();
    const sockets = new FakeSockets(kernel, systemClock);
    expect(() => sockets.connect('/fake/none')).toThrow('ENOENT');
    const listener = sockets.listen('/fake/refused', 0o600, () => {});
    kernel.socketFiles.identity = () => undefined;
    listener[Symbol.dispose]();
    let error: unknown;
    try {
      sockets.connect('/fake/refused');
    } catch (caught) {
      error = caught;
    }
    expect(isOsError(error, 'ECONNREFUSED')).toBe(true);
    expect(kernel.openCount).toBe(0);
  });
});
