import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../testing/manual-clock.js';
import {
  phaseForbidden,
  reportHits,
  reportPhase,
  reportRounds,
  reportStop,
  reportViolations,
  reportWords,
  type TranslateWorkerData,
} from '../testing/translate-worker.js';
import { createControl, hasSeen } from './control.js';
import { DeviceIommu } from './device-iommu.js';
import { entryRead, hugeBytes, pageBytes } from './entry.js';
import { Invalidation } from './invalidation.js';
import { NodePool } from './node-pool.js';
import { PageTable } from './page-table.js';
import { PasidTable } from './pasid-table.js';

const pasid = 3;

function setUp() {
  const pool = new NodePool(1024 * pageBytes);
  const table = new PageTable(pool);
  const pasids = new PasidTable(4);
  pasids.set(pasid, table.root);
  const control = createControl();
  const clock = new ManualClock();
  const invalidation = new Invalidation(control, clock, 100);
  const handles = { tables: pool.shared, pasids: pasids.shared, control };
  return { pool, table, control, clock, invalidation, handles };
}

type World = ReturnType<typeof setUp>;

/** As the owner of a table does it: clear, then free the nodes once acknowledged. */
function unmap(world: World, iova: number): Promise<void> {
  world.table.unmap(iova, pageBytes);
  const nodes = world.pool.takeRetired();
  return world.invalidation.invalidate(nodes && (() => world.pool.release(nodes)));
}

async function isSettled(promise: Promise<void>): Promise<boolean> {
  const pending = Symbol('pending');
  // A full turn, so that a shared generation has begun and its promises have run.
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}

describe('invalidation in one thread', () => {
  test('asleep counts as acknowledged, at once', async () => {
    const world = setUp();
    world.table.map(0, pageBytes, 1, entryRead, undefined);
    const done = unmap(world, 0);
    expect(world.pool.usedCount).toBe(1);
    await done;
  });

  test('a running device holds nodes back until it polls', async () => {
    const world = setUp();
    const device = new DeviceIommu(world.handles);
    world.table.map(0, pageBytes, 1, entryRead, undefined);
    const done = unmap(world, 0);
    expect(await isSettled(done)).toBe(false);
    expect(world.pool.usedCount).toBe(4);
    device.poll();
    await done;
    expect(world.pool.usedCount).toBe(1);
  });

  test('a node is not given out again before the acknowledgement', async () => {
    const world = setUp();
    const device = new DeviceIommu(world.handles);
    world.table.map(0, pageBytes, 1, entryRead, undefined);
    const done = unmap(world, 0);
    world.table.map(hugeBytes, pageBytes, 2, entryRead, undefined);
    // A device that still holds the path to IOVA 0 must not find the new entries at its end.
    expect(world.pool.usedCount).toBe(7);
    device.park();
    await done;
    expect(world.pool.usedCount).toBe(4);
  });

  test('callers of one turn share one generation', async () => {
    const world = setUp();
    const device = new DeviceIommu(world.handles);
    const words = new Int32Array(world.control);
    const first = world.invalidation.invalidate();
    const second = world.invalidation.invalidate();
    await isSettled(first);
    expect(words[0]).toBe(1);
    const third = world.invalidation.invalidate();
    await isSettled(third);
    expect(words[0]).toBe(2);
    device.poll();
    await Promise.all([first, second, third]);
  });

  test('falling asleep acknowledges who already waits', async () => {
    const world = setUp();
    const device = new DeviceIommu(world.handles);
    const done = world.invalidation.invalidate();
    expect(await isSettled(done)).toBe(false);
    device.park();
    await done;
  });

  test('a late device: DEADLINE_EXCEEDED, released only when it is gone', async () => {
    const world = setUp();
    new DeviceIommu(world.handles);
    world.table.map(0, pageBytes, 1, entryRead, undefined);
    const done = unmap(world, 0);
    expect(await isSettled(done)).toBe(false);
    world.clock.advance(101);
    await expect(done).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(world.pool.usedCount).toBe(4);
    world.invalidation.workerGone();
    expect(world.pool.usedCount).toBe(1);
    expect(world.clock.timerCount).toBe(0);
    await world.invalidation.settled();
  });

  test('a wake-up before the sleep ends it at once', () => {
    const world = setUp();
    const device = new DeviceIommu(world.handles);
    world.invalidation.wake();
    const startMs = performance.now();
    device.sleep(10_000);
    expect(performance.now() - startMs).toBeLessThan(5000);
    // Consumed: the next sleep lasts.
    const againMs = performance.now();
    device.sleep(30);
    expect(performance.now() - againMs).toBeGreaterThan(20);
  });

  test('generations compare across the wrap', () => {
    expect(hasSeen(5, 5)).toBe(true);
    expect(hasSeen(4, 5)).toBe(false);
    expect(hasSeen(-(2 ** 31), 2 ** 31 - 1)).toBe(true);
    expect(hasSeen(2 ** 31 - 1, -(2 ** 31))).toBe(false);
  });
});

describe.each([
  ['spinning', false],
  ['sleeping between rounds', true],
])('a worker that translates while the main thread unmaps, %s', (_name, isSleepy) => {
  let worker: Worker | undefined;
  let report = new Int32Array(new SharedArrayBuffer(reportWords * 4));
  afterEach(async () => {
    Atomics.store(report, reportStop, 1);
    await worker?.terminate();
  });

  /** Until the worker began and ended another round. */
  async function rounds(count: number): Promise<void> {
    const until = Atomics.load(report, reportRounds) + count;
    while (Atomics.load(report, reportRounds) < until) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  test('nothing translates once the promise of unmap resolved', async () => {
    const world = setUp();
    const iovas = [0, 5 * pageBytes, hugeBytes, 2 ** 40];
    report = new Int32Array(new SharedArrayBuffer(reportWords * 4));
    const data: TranslateWorkerData = {
      handles: world.handles,
      report: report.buffer as SharedArrayBuffer,
      pasid,
      iovas,
      isSleepy,
    };
    const script = new URL('../testing/translate-worker.js', import.meta.url);
    worker = new Worker(script, { workerData: data });
    await rounds(1);
    for (let turn = 0; turn < 150; turn++) {
      for (const iova of iovas) {
        world.table.map(iova, pageBytes, 1 + turn, entryRead, undefined);
      }
      const hits = Atomics.load(report, reportHits);
      await rounds(2);
      expect(Atomics.load(report, reportHits)).toBeGreaterThan(hits);
      await Promise.all(iovas.map((iova) => unmap(world, iova)));
      expect(world.pool.usedCount).toBe(1);
      Atomics.store(report, reportPhase, phaseForbidden);
      await rounds(2);
      Atomics.store(report, reportPhase, 0);
      await rounds(1);
    }
    expect(Atomics.load(report, reportViolations)).toBe(0);
    // The report can tell: the same phase with a mapping in place is a violation.
    world.table.map(0, pageBytes, 1, entryRead, undefined);
    Atomics.store(report, reportPhase, phaseForbidden);
    await rounds(2);
    expect(Atomics.load(report, reportViolations)).toBeGreaterThan(0);
  });
});
