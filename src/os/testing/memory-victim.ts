// Processes that live or die by the SIGBUS guard, one scenario each; the test looks at how they
// end. Descriptor 4 and up are memory of the test.
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { assert, isOsError } from '../../base/errors.js';
import { createMemoryOs } from '../memory.js';
import type { MapSpec } from '../memory-types.js';
import { loadNative } from '../native.js';
import { proberWords } from './memory-prober.js';
import { spinUntilOnes } from './memory-spinner.js';

const page: MapSpec = { offsetBytes: 0, lengthBytes: 4096, writable: true };
const window: MapSpec = { ...page, guard: 'ones' };

type GcEntry = PerformanceEntry & { readonly detail: { readonly kind: number } };

function setUp() {
  const native = loadNative();
  return { native, os: createMemoryOs(native) };
}

function workerEnds(worker: Worker): Promise<number> {
  return new Promise((resolve) => worker.once('exit', resolve));
}

function spinner(fds: readonly number[]): Worker {
  const script = new URL('./memory-spinner.js', import.meta.url);
  return new Worker(script, { workerData: { fds } });
}

const scenarios: Record<string, () => void | Promise<void>> = {
  /** Positive control: the same truncation kills when nothing guards. */
  unguarded() {
    const { os } = setUp();
    const fd = os.create('lessor-test', 4096);
    const mapping = os.map(fd, page);
    os.truncate(fd, 0);
    console.log(new Uint32Array(mapping.buffer)[0]);
  },

  /** An address that the guard does not know, in a process that has one. */
  stray() {
    const { os } = setUp();
    const fd = os.create('lessor-test', 4096);
    os.map(fd, window);
    const stray = new Uint32Array(os.map(fd, page).buffer);
    os.truncate(fd, 0);
    console.log(stray[0]);
  },

  /** A slot that was given back no longer guards. */
  cleared() {
    const { os } = setUp();
    const fd = os.create('lessor-test', 4096);
    const arena = os.createArena(2 ** 21);
    const slot = arena.place(0, fd, window);
    arena.clear(0, 4096, slot);
    arena.place(0, fd, page);
    os.truncate(fd, 0);
    console.log(new Uint32Array(arena.buffer)[0]);
  },

  sent() {
    setUp();
    process.kill(process.pid, 'SIGBUS');
    console.log('still here');
  },

  /** A sent SIGBUS still reaches a listener that was there before the guard. */
  async chained() {
    let heard = 0;
    process.on('SIGBUS', () => heard++);
    const { native } = setUp();
    assert(native.guardCheck(), 'the guard is installed over the listener');
    process.kill(process.pid, 'SIGBUS');
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert(heard === 1, `the listener was called ${heard} times`);
  },

  /** A listener replaces the guard; the next map puts it back. */
  replaced() {
    const { native, os } = setUp();
    const fd = os.create('lessor-test', 4096);
    const first = new Uint32Array(os.map(fd, window).buffer);
    process.on('SIGBUS', () => {});
    assert(!native.guardCheck(), 'the listener replaced the guard');
    os.map(fd, window);
    assert(native.guardCheck(), 'the map installed it again');
    os.truncate(fd, 0);
    assert(first[0] === 0xffff_ffff, 'reads ones');
  },

  readOnlyStore() {
    const { os } = setUp();
    const fd = os.create('lessor-test', 4096);
    const words = new Uint32Array(os.map(fd, { ...window, writable: false }).buffer);
    os.truncate(fd, 0);
    assert(words[0] === 0xffff_ffff, 'reads ones');
    words[0] = 1;
    console.log('still here');
  },

  unplaced() {
    const { os } = setUp();
    console.log(new Uint32Array(os.createArena(2 ** 21).buffer)[0]);
  },

  /** Every slot taken: a loud error, no harm, and room again after one was given back. */
  tableFull() {
    const { native, os } = setUp();
    const fd = os.create('lessor-test', 4096);
    const slotCount = native.guardFaults().byteLength / 4 - 1;
    const mappings = Array.from({ length: slotCount }, () => os.map(fd, window));
    const arena = os.createArena(2 ** 21);
    for (const attempt of [() => os.map(fd, window), () => arena.place(0, fd, window)]) {
      try {
        attempt();
        assert(false, 'one more than the table holds');
      } catch (error) {
        assert(isOsError(error, 'ENOSPC'), `ENOSPC, not ${error}`);
      }
    }
    mappings.pop()![Symbol.dispose]();
    mappings.push(os.map(fd, window));
    os.truncate(fd, 0);
    const seen = mappings.every((mapping) => new Uint32Array(mapping.buffer)[1] === 0xffff_ffff);
    assert(seen && mappings.every((mapping) => mapping.revoked), 'every slot guards');
  },

  /** The handler's code must outlive the worker that was first to load the addon. */
  async workerFirst() {
    const worker = new Worker(new URL('./memory-loader.js', import.meta.url));
    assert((await workerEnds(worker)) === 0, 'the worker loaded the addon');
    const { os } = setUp();
    assert(os.openArena(1).lengthBytes === 2 ** 21, 'the arena of the worker is still there');
    const fd = os.create('lessor-test', 4096);
    const words = new Uint32Array(os.map(fd, window).buffer);
    os.truncate(fd, 0);
    assert(words[0] === 0xffff_ffff, 'reads ones');
  },

  /** V8 must not take mappings for memory that collecting garbage would bring back. */
  async accounting() {
    const { os } = setUp();
    let majorCount = 0;
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as GcEntry[]) {
        if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) majorCount++;
      }
    });
    observer.observe({ entryTypes: ['gc'] });
    const fd = os.create('lessor-test', 2 ** 24);
    const large = { ...page, lengthBytes: 2 ** 24 };
    const kept = Array.from({ length: 500 }, () => os.map(fd, large));
    for (let round = 0; round < 500; round++) os.map(fd, large)[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(kept.length === 500 && majorCount < 10, `${majorCount} collections`);
  },

  /** A handler at work when its range is zeroed must not put ones there afterwards. */
  async zeroRace() {
    const { os } = setUp();
    const arena = os.createArena(2 ** 21);
    arena.zero(proberWords.pageOffsetBytes, 4096);
    const words = new Uint32Array(arena.buffer);
    const script = new URL('./memory-prober.js', import.meta.url);
    const worker = new Worker(script, { workerData: { id: arena.id } });
    await new Promise((resolve) => worker.once('message', resolve));
    const fd = os.create('lessor-test', 4096);
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const proberTurns = (probing: 0 | 1): void => {
      words[proberWords.probing] = probing;
      const from = words[proberWords.turns]!;
      // Sleeps, because the two threads may share a CPU.
      while (words[proberWords.turns]! - from < 2) Atomics.wait(pause, 0, 0, 0.05);
    };
    for (let round = 0; round < 500; round++) {
      os.truncate(fd, 4096);
      const slot = arena.place(0, fd, window);
      proberTurns(1);
      os.truncate(fd, 0);
      for (let delay = 0; delay < (round % 64) * 20; delay++) words[proberWords.delay] = delay;
      arena.zero(0, 4096);
      proberTurns(1);
      assert(words[0] === 0, `round ${round} left ${words[0]}`);
      proberTurns(0);
      arena.clear(0, 4096, slot);
    }
    await worker.terminate();
  },

  /** Both threads load and store while the test, another process, truncates. */
  async threads() {
    const fds = [4, 5, 6, 7, 8];
    const worker = spinner(fds);
    const ended = workerEnds(worker);
    await new Promise((resolve) => worker.once('online', resolve));
    for (const fd of fds) spinUntilOnes(fd, 'main');
    assert((await ended) === 0, 'the worker saw every revocation');
  },

  /** Faults, and slots that come and go, in two threads at once. */
  async churn() {
    const { native, os } = setUp();
    const worker = new Worker(new URL('./memory-churner.js', import.meta.url));
    const ended = workerEnds(worker);
    const fd = os.create('lessor-test', 4096);
    for (let round = 0; round < 3000; round++) os.map(fd, window)[Symbol.dispose]();
    assert((await ended) === 0, 'every fault of the worker was repaired');
    assert(new Int32Array(native.guardFaults())[0]! >= 1000, 'there were faults');
    fd.close();
  },
};

await scenarios[process.argv[2] ?? '']!();
process.exit();
