// Readiness, eventfds, their signal that never blocks, futexes: all on the machine.
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it } from 'vitest';
import { errnoNumbers } from '../base/errno.js';
import { OsEvents } from './events.js';
import { closeAll, Fd } from './fd.js';
import { loadNative } from './native.js';
import { openCount } from './testing/open-descriptors.js';
import { turns, until } from './testing/socket-contract.js';

const native = loadNative();
const events = new OsEvents(native);
const nativeUrl = new URL('./native.js', import.meta.url).href;

// One for all: io_destroy waits tens of milliseconds for the kernel.
const common = events.createSignaller();
afterAll(() => common[Symbol.dispose]());

function add(fd: Fd): void {
  expect(common.signal(fd.number)).toBe(0);
}

describe('watch', () => {
  it('calls back while readable, until disposed', async () => {
    const fd = events.createEventFd();
    let calls = 0;
    const watch = events.watch(fd, () => calls++);
    await turns();
    expect(calls).toBe(0);
    add(fd);
    await until(() => calls >= 3, 'level-triggered calls');
    expect(events.drain(fd)).toBe(1n);
    const drained = calls;
    await turns();
    expect(calls).toBe(drained);
    add(fd);
    watch[Symbol.dispose]();
    await turns();
    expect(calls).toBe(drained);
    fd.close();
  });

  it('watches many at once, disposing each other inside callbacks', async () => {
    const count = 300;
    const fds = Array.from({ length: count }, () => events.createEventFd());
    const called = new Set<number>();
    const watches = fds.map((fd, index) =>
      events.watch(fd, () => {
        called.add(index);
        // Its own and its neighbour's, which may be ready in the same turn.
        watches[index]?.[Symbol.dispose]();
        watches[index ^ 1]?.[Symbol.dispose]();
      }),
    );
    for (const fd of fds) add(fd);
    await until(() => called.size >= count / 2, 'every pair');
    await turns();
    expect(called.size).toBe(count / 2);
    closeAll(fds);
  });

  it('refuses to watch a regular file and a descriptor twice', () => {
    const fd = events.createEventFd();
    const watch = events.watch(fd, () => {});
    expect(() => events.watch(fd, () => {})).toThrow('EEXIST');
    watch[Symbol.dispose]();
    events.watch(fd, () => {})[Symbol.dispose]();
    fd.close();
    const memory = new Fd(native, native.memfdCreate('lessor-test', 1));
    expect(() => events.watch(memory, () => {})).toThrow('EPERM');
    memory.close();
  });

  it('makes an exception of a callback an uncaught one', () => {
    const script = `
      import { loadNative } from ${JSON.stringify(nativeUrl)};
      const native = loadNative();
      process.on('uncaughtException', (error) => { console.log(error.message); process.exit(3); });
      native.pollStart(native.eventFd(1, 0), 1, () => { throw new Error('from a callback'); });`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 15_000,
    });
    expect(String(done.stdout)).toBe('from a callback\n');
    expect(done.status).toBe(3);
  });

  it('lets the process end when only unreferenced handles are left', () => {
    const script = `
      import { loadNative } from ${JSON.stringify(nativeUrl)};
      const native = loadNative();
      native.pollReference(native.pollStart(native.eventFd(0, 0), 1, () => {}), false);`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 10_000,
    });
    expect(done.status).toBe(0);
  });

  it('survives workers that are terminated with live and busy handles', () => {
    // In a process of its own: what this guards against is an abort.
    const worker = `
      Promise.all([import('node:worker_threads'), import(${JSON.stringify(nativeUrl)})]).then(([{ parentPort }, { loadNative }]) => {
        const native = loadNative();
        native.aioSetup(8);
        for (let index = 0; index < 100; index++) {
          native.pollStart(native.eventFd(0, 0), 1, () => {});
        }
        let calls = 0;
        native.pollStart(native.eventFd(1, 0), 1, () => {
          if (calls++ === 3) { parentPort.postMessage('busy'); for (;;); }
        });
      });`;
    const script = `
      import { Worker } from 'node:worker_threads';
      import { loadNative } from ${JSON.stringify(nativeUrl)};
      loadNative();
      for (let round = 0; round < 3; round++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        await new Promise((resolve) => worker.once('message', resolve));
        await worker.terminate();
      }
      console.log('alive');`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 15_000,
    });
    expect(String(done.stderr)).toBe('');
    expect(String(done.stdout)).toBe('alive\n');
    expect(done.status).toBe(0);
  });

  it('works in a worker', async () => {
    const script = `
      const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(nativeUrl)}).then(({ loadNative }) => {
        const native = loadNative();
        const fd = native.eventFd(0, 0o4000);
        const handle = native.pollStart(fd, 1, () => {
          native.pollStop(handle);
          parentPort.postMessage('ready');
        });
        const context = native.aioSetup(8);
        native.aioReadAndSignal(context, native.memfdCreate('lessor-test', 1), fd);
      });`;
    const worker = new Worker(script, { eval: true });
    const message = await new Promise((resolve) => worker.once('message', resolve));
    expect(message).toBe('ready');
    await worker.terminate();
  });
});

describe('eventfds', () => {
  it('are told from everything else', () => {
    const fd = events.createEventFd();
    const memory = new Fd(native, native.memfdCreate('anon_inode:[eventfd]', 1));
    expect(events.isEventFd(fd)).toBe(true);
    expect(events.isEventFd(memory)).toBe(false);
    closeAll([fd, memory]);
  });

  it('count signals', () => {
    const fd = events.createEventFd();
    using signaller = events.createSignaller();
    expect(events.drain(fd)).toBe(0n);
    // Far past what a context holds without reaping.
    for (let index = 0; index < 5000; index++) expect(signaller.signal(fd.number)).toBe(0);
    expect(events.drain(fd)).toBe(5000n);
    fd.close();
  });

  it('never block the one who signals, even full and blocking ones', () => {
    const full = native.eventFd(0xfffffffe, 0);
    using signaller = events.createSignaller();
    // The counter to its largest value, 2^64 - 2, in a file that write(2) would now wait on.
    const script = `
      import { writeSync } from 'node:fs';
      writeSync(3, new Uint8Array(BigUint64Array.of(2n ** 64n - 2n - 0xfffffffen).buffer));`;
    const filled = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', 'inherit', full],
    });
    expect(filled.status).toBe(0);
    for (let index = 0; index < 1000; index++) expect(signaller.signal(full)).toBe(0);
    const counter = new BigUint64Array(1);
    native.readNoWait(full, new Uint8Array(counter.buffer));
    expect(counter[0]).toBeGreaterThanOrEqual(2n ** 64n - 2n);
    native.close(full);
  });

  it('never block the one who drains, even a blocking one', () => {
    const blocking = new Fd(native, native.eventFd(2, 0));
    expect(events.drain(blocking)).toBe(2n);
    expect(events.drain(blocking)).toBe(0n);
    blocking.close();
  });

  it('are the only thing that can be signalled', () => {
    using signaller = events.createSignaller();
    const memory = new Fd(native, native.memfdCreate('lessor-test', 1));
    expect(signaller.signal(memory.number)).toBe(-errnoNumbers.EINVAL);
    expect(signaller.signal(9999)).toBe(-errnoNumbers.EBADF);
    memory.close();
  });

  it('leave nothing open when a signaller is disposed', () => {
    const before = openCount();
    for (let index = 0; index < 5; index++) events.createSignaller()[Symbol.dispose]();
    expect(openCount()).toBe(before);
  });

  it('are signalled in a few microseconds', () => {
    const fd = events.createEventFd();
    using signaller = events.createSignaller();
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 20; round++) {
      const start = process.hrtime.bigint();
      for (let index = 0; index < 1000; index++) signaller.signal(fd.number);
      best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e6);
    }
    expect(best).toBeLessThan(10);
    fd.close();
  });
});

describe('futexes', () => {
  it('wait and wake between threads', async () => {
    const words = new Int32Array(new SharedArrayBuffer(16));
    const script = `
      const { workerData, parentPort } = require('node:worker_threads');
      import(${JSON.stringify(nativeUrl)}).then(({ loadNative }) => {
        parentPort.postMessage(loadNative().futexWait(workerData, 2, 7, 15e9));
      });`;
    words[2] = 7;
    const worker = new Worker(script, { eval: true, workerData: words });
    const result = new Promise((resolve) => worker.once('message', resolve));
    await until(() => events.futexWake(words, 2, 1) === 1, 'a waiter');
    expect(await result).toBe(0);
    await worker.terminate();
  });

  it('do not wait for a word that changed, and not past the timeout', () => {
    const words = new Int32Array(4);
    expect(events.futexWait(words, 1, 5, 1000)).toBe(-errnoNumbers.EAGAIN);
    expect(events.futexWait(words, 1, 0, 2)).toBe(-errnoNumbers.ETIMEDOUT);
    expect(() => events.futexWait(words, 4, 0, 1)).toThrow('futex word');
    expect(events.futexWake(words, 3, 1)).toBe(0);
  });
});
