import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Fd } from './fd.js';
import { createMemoryOs } from './memory.js';
import type { MapSpec } from './memory-types.js';
import { loadNative } from './native.js';
import type { ArenaCall } from './testing/arena-worker.js';
import { errnoThrown } from './testing/memory-contract.js';

const native = loadNative();
const os = createMemoryOs(native);
const arena = os.createArena(2 ** 32);
const words = new Uint32Array(arena.buffer);
const page = os.pageBytes;
const allOnes = 0xffff_ffff;
const spec: MapSpec = { offsetBytes: 0, lengthBytes: page, writable: true };

let worker: Worker;

async function ask(call: ArenaCall): Promise<number> {
  worker.postMessage(call);
  const [reply] = await once(worker, 'message');
  return reply;
}

function startWorker(): Worker {
  const script = new URL('./testing/arena-worker.js', import.meta.url);
  return new Worker(script, { workerData: { id: arena.id } });
}

beforeAll(() => {
  worker = startWorker();
});

afterAll(async () => {
  await worker.terminate();
});

function mappingsNamed(name: string): string[] {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => line.includes(`/memfd:${name}`));
}

describe('an arena', () => {
  it('is one buffer in a thread, of all it can address', () => {
    expect(arena.buffer.byteLength).toBe(2 ** 32);
    expect(os.openArena(arena.id).buffer).toBe(arena.buffer);
    expect(os.openArena(arena.id).faults.buffer).toBe(arena.faults.buffer);
  });

  it('shows both threads what is placed, at the first page and at the last', async () => {
    for (const offsetBytes of [0, 3 * 2 ** 30, 2 ** 32 - page]) {
      using fd = os.create('lessor-test', 2 * page);
      const index = offsetBytes / 4;
      arena.place(offsetBytes, fd, { ...spec, offsetBytes: page });
      words[index] = 17;
      expect(await ask({ do: 'load', index })).toBe(17);
      await ask({ do: 'store', index: index + 1, value: 18 });
      using mapping = os.map(fd, { ...spec, offsetBytes: page });
      expect([...new Uint32Array(mapping.buffer, 0, 2)]).toEqual([17, 18]);
      arena.clear(offsetBytes, page, undefined);
    }
  });

  it('lets a spinning thread see a swap without a message', async () => {
    using one = os.create('lessor-test', page);
    using other = os.create('lessor-test', page);
    arena.place(0, one, spec);
    words[0] = 1;
    const steps: [number, () => void][] = [
      [0, () => arena.zero(0, page)],
      [2, () => arena.place(0, other, spec)],
    ];
    using mapping = os.map(other, spec);
    new Uint32Array(mapping.buffer)[0] = 2;
    for (const [value, swap] of steps) {
      const spinning = once(worker, 'message');
      worker.postMessage({ do: 'until', index: 0, value } satisfies ArenaCall);
      expect(await spinning).toEqual(['spinning']);
      swap();
      expect(await once(worker, 'message')).toEqual([0]);
    }
    arena.clear(0, page, undefined);
  });

  it('keeps what is stored after zero from the object that was there', () => {
    using fd = os.create('lessor-test', page);
    using mapping = os.map(fd, spec);
    arena.place(0, fd, { ...spec, writable: false });
    arena.zero(0, page);
    words[0] = 5;
    expect([words[0], new Uint32Array(mapping.buffer)[0]]).toEqual([5, 0]);
    arena.clear(0, page, undefined);
  });

  it('counts the fault of either thread, for its slot and in total', async () => {
    using fd = os.create('lessor-test', 2 * page);
    const slot = arena.place(0, fd, { ...spec, lengthBytes: 2 * page, guard: 'ones' });
    const totalBefore = arena.faults[0]!;
    os.truncate(fd, 0);
    expect(await ask({ do: 'load', index: 2047 })).toBe(allOnes);
    expect(await ask({ do: 'faults', index: slot })).toBe(1);
    expect([words[0], arena.faults[slot], arena.faults[0]]).toEqual([allOnes, 1, totalBefore + 1]);
    arena.clear(0, 2 * page, slot);
    using next = os.create('lessor-test', 2 * page);
    const again = arena.place(0, next, { ...spec, guard: 'ones' });
    expect([again, arena.faults[again]]).toEqual([slot, 0]);
    arena.clear(0, page, again);
  });

  it('reads zeros after zero, also when the object behind it was a window and is truncated', () => {
    using fd = os.create('lessor-test', page);
    const slot = arena.place(0, fd, { ...spec, guard: 'ones' });
    arena.zero(0, page);
    os.truncate(fd, 0);
    expect([words[0], arena.faults[slot]]).toEqual([0, 0]);
    arena.clear(0, page, slot);
  });

  it('leaves no mapping of an object behind, after zero or clear', () => {
    using fd = os.create('lessor-arena-left', 4 * page);
    const slot = arena.place(0, fd, { ...spec, lengthBytes: 4 * page, guard: 'zeros' });
    expect(mappingsNamed('lessor-arena-left')).toHaveLength(1);
    arena.zero(0, 2 * page);
    expect(mappingsNamed('lessor-arena-left')).toHaveLength(1);
    arena.clear(0, 4 * page, slot);
    expect(mappingsNamed('lessor-arena-left')).toHaveLength(0);
  });

  it('stays in use when a worker that had it open is gone', async () => {
    using fd = os.create('lessor-test', page);
    const slot = arena.place(0, fd, { ...spec, guard: 'zeros' });
    words[0] = 3;
    const short = startWorker();
    short.postMessage({ do: 'load', index: 0 } satisfies ArenaCall);
    expect(await once(short, 'message')).toEqual([3]);
    await short.terminate();
    expect(words[0]).toBe(3);
    arena.clear(0, page, slot);
  });
});

describe('an arena refuses', () => {
  it.each([0, 4096, 2 ** 32 + 2 ** 21, -(2 ** 21), 1.5])('to be %s bytes long', (lengthBytes) => {
    expect(errnoThrown(() => os.createArena(lengthBytes))).toBe('EINVAL');
  });

  it('to be opened by an id that nobody created', () => {
    for (const id of [0, -1, 1000]) expect(errnoThrown(() => os.openArena(id))).toBe('ENOENT');
  });

  it('ranges outside of it or off the page', () => {
    using fd = os.create('lessor-test', 2 * page);
    const ranges = [
      [1, page],
      [0, page - 1],
      [0, 0],
      [-page, page],
      [2 ** 32, page],
      [2 ** 32 - page, 2 * page],
      [page, 2 ** 32],
      [2 ** 53 - 1, page],
    ] as const;
    for (const [offset, lengthBytes] of ranges) {
      const place = () => arena.place(offset, fd, { ...spec, lengthBytes });
      expect(errnoThrown(place)).toBe('EINVAL');
      expect(errnoThrown(() => arena.zero(offset, lengthBytes))).toBe('EINVAL');
      expect(errnoThrown(() => arena.clear(offset, lengthBytes, undefined))).toBe('EINVAL');
    }
    expect(errnoThrown(() => arena.place(0, fd, { ...spec, offsetBytes: 1 }))).toBe('EINVAL');
  });

  it('to guard a range twice, and a slot of another range', () => {
    using fd = os.create('lessor-test', page);
    const slot = arena.place(0, fd, { ...spec, guard: 'ones' });
    const second = () => arena.place(0, fd, { ...spec, guard: 'ones' });
    expect(errnoThrown(second)).toBe('EEXIST');
    expect(errnoThrown(() => arena.clear(page, page, slot))).toBe('EINVAL');
    arena.clear(0, page, slot);
    expect(errnoThrown(() => arena.clear(0, page, slot))).toBe('EINVAL');
  });

  it('a refused object without loss of its own range or slot', () => {
    using fd = os.create('lessor-test', page);
    using readOnly = os.reopenReadOnly(fd);
    const refused = () => arena.place(0, readOnly, { ...spec, guard: 'ones' });
    for (let round = 0; round < 100; round++) expect(errnoThrown(refused)).toBe('EACCES');
    const slot = arena.place(0, fd, { ...spec, guard: 'ones' });
    expect(words[0]).toBe(0);
    arena.clear(0, page, slot);
  });

  it('huge pages that would reach past the range', () => {
    const MFD_CLOEXEC_HUGETLB = 0x5;
    const number = native.memfdCreate('lessor-test', MFD_CLOEXEC_HUGETLB);
    expect(number).toBeGreaterThan(0);
    using fd = new Fd(native, number);
    os.truncate(fd, 2 ** 21);
    expect(errnoThrown(() => arena.place(2 ** 21, fd, spec))).toBe('EINVAL');
    expect(errnoThrown(() => os.map(fd, spec))).toBe('EINVAL');
    const whole = { ...spec, lengthBytes: 2 ** 21 };
    expect(errnoThrown(() => arena.place(page, fd, whole))).toBe('EINVAL');
    // Whether there is a huge page to map is the machine's matter.
    const placed = errnoThrown(() => arena.place(2 ** 21, fd, whole));
    expect([undefined, 'ENOMEM']).toContain(placed);
    arena.clear(2 ** 21, 2 ** 21, undefined);
  });
});
