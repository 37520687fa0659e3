import { describe, expect, test } from 'vitest';
import { GiB, MiB } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import { F_SEAL_SHRINK, F_SEAL_WRITE } from '../../os/memory-types.js';
import { FakeArena, FakeMemory } from '../testing/fake-memory.js';
import type { DmaAccount } from '../types.js';
import { Extents, extentBytes, extentChargeBytesMin } from './extents.js';

function account(placedBytesMax = GiB): DmaAccount {
  return { placedBytesMax, tablePagesMax: 1000, placedBytes: 0, tablePages: 0 };
}

function setUp(arenaBytes = 32 * MiB, placedBytesMax = GiB, slots = 100) {
  const memory = new FakeMemory();
  const arena = new FakeArena(memory, arenaBytes, slots);
  const startBytes = 4 * MiB;
  const extents = new Extents({ arena, memory, startBytes, placedBytesMax });
  return { memory, arena, extents };
}

function code(name: string) {
  return expect.objectContaining({ code: name });
}

describe('extents', () => {
  test('two users of one extent share it; the last one out clears it', () => {
    const { memory, arena, extents } = setUp();
    const fd = memory.create(8 * MiB);
    const lease = account();
    const users = [{}, {}] as const;
    const [one] = extents.acquire(fd, 4096, 4096, true, lease, users[0]);
    const [other] = extents.acquire(fd, 65_536, 4096, true, lease, users[1]);
    expect(other).toBe(one);
    expect([arena.rangeCount, lease.placedBytes, extents.placedBytes]).toEqual([
      1,
      extentBytes,
      extentBytes,
    ]);
    expect(arena.pageAt(one!.offsetBytes + 4096)).toMatchObject({ offsetBytes: 4096 });
    extents.release([one!], lease, users[0]);
    expect(arena.rangeCount).toBe(1);
    extents.release([other!], lease, users[1]);
    expect([arena.rangeCount, lease.placedBytes, extents.placedBytes, extents.count]).toEqual([
      0, 0, 0, 0,
    ]);
  });

  test('the key has object, extent and protection, and sees through descriptors', () => {
    const { memory, extents } = setUp();
    const fd = memory.create(8 * MiB);
    const copy = memory.reopen(fd, 'read-write');
    const user = () => ({});
    const [first] = extents.acquire(fd, 0, 4096, true, undefined, user());
    expect(extents.acquire(copy, 0, 4096, true, undefined, user())[0]).toBe(first);
    expect(extents.acquire(fd, 0, 4096, false, undefined, user())[0]).not.toBe(first);
    expect(extents.acquire(fd, extentBytes, 4096, true, undefined, user())[0]).not.toBe(first);
    const stranger = memory.create(8 * MiB);
    expect(extents.acquire(stranger, 0, 4096, true, undefined, user())[0]).not.toBe(first);
  });

  test('a range over several extents takes each; the last is clipped at the end of the object', () => {
    const { memory, extents, arena } = setUp();
    const fd = memory.create(5 * MiB);
    const taken = extents.acquire(fd, MiB, 4 * MiB, false, undefined, {});
    expect(taken.map(({ startBytes, lengthBytes }) => [startBytes, lengthBytes])).toEqual([
      [0, 2 * MiB],
      [2 * MiB, 2 * MiB],
      [4 * MiB, MiB],
    ]);
    for (const extent of taken.slice(0, 2)) expect(extent.offsetBytes % extentBytes).toBe(0);
    expect(arena.pageAt(taken[2]!.offsetBytes)).toMatchObject({
      offsetBytes: 4 * MiB,
      writable: false,
    });
  });

  test('an object that grew is placed anew where the old extent is too short', () => {
    const { memory, extents, arena } = setUp();
    const fd = memory.create(MiB);
    const users = [{}, {}, {}] as const;
    const small = extents.acquire(fd, 0, MiB, true, undefined, users[0]);
    memory.resize(fd, 2 * MiB);
    const large = extents.acquire(fd, 0, 2 * MiB, true, undefined, users[1]);
    expect(large[0]).not.toBe(small[0]);
    extents.release(small, undefined, users[0]);
    expect(extents.acquire(fd, 0, MiB, true, undefined, users[2])[0]).toBe(large[0]);
    extents.release(large, undefined, users[1]);
    extents.release(large, undefined, users[2]);
    expect(arena.rangeCount).toBe(0);
  });

  test('each account pays once for an extent, and the arena once in all', () => {
    const { memory, extents } = setUp();
    const fd = memory.create(2 * MiB);
    const [a, b] = [account(), account()];
    const users = [{}, {}, {}] as const;
    const taken = extents.acquire(fd, 0, 4096, true, a, users[0]);
    extents.acquire(fd, 0, 4096, true, a, users[1]);
    extents.acquire(fd, 0, 4096, true, b, users[2]);
    expect([a.placedBytes, b.placedBytes, extents.placedBytes]).toEqual([
      2 * MiB,
      2 * MiB,
      2 * MiB,
    ]);
    extents.release(taken, a, users[0]);
    extents.release(taken, b, users[2]);
    expect([a.placedBytes, b.placedBytes]).toEqual([2 * MiB, 0]);
    extents.release(taken, a, users[1]);
    expect([a.placedBytes, extents.placedBytes]).toEqual([0, 0]);
  });

  test('QUOTA_EXCEEDED one byte below what is needed, nothing left behind', () => {
    const { memory, arena, extents } = setUp();
    const fd = memory.create(4 * MiB);
    const exact = account(4 * MiB);
    const short = account(4 * MiB - 1);
    expect(() => extents.acquire(fd, 0, 4 * MiB, true, short, {})).toThrowError(
      code('QUOTA_EXCEEDED'),
    );
    expect([arena.rangeCount, short.placedBytes, extents.placedBytes]).toEqual([0, 0, 0]);
    expect(extents.acquire(fd, 0, 4 * MiB, true, exact, {})).toHaveLength(2);
    // Sharing costs as well.
    expect(() => extents.acquire(fd, 0, 4 * MiB, true, short, {})).toThrowError(
      code('QUOTA_EXCEEDED'),
    );
    expect([arena.rangeCount, short.placedBytes]).toEqual([2, 0]);
  });

  test('tiny objects cost their share of the guard table', () => {
    const { memory, extents } = setUp();
    const lease = account(extentChargeBytesMin);
    extents.acquire(memory.create(4096), 0, 4096, true, lease, {});
    expect(lease.placedBytes).toBe(extentChargeBytesMin);
    expect(() => extents.acquire(memory.create(4096), 0, 4096, true, lease, {})).toThrowError(
      code('QUOTA_EXCEEDED'),
    );
  });

  test('ARENA_FULL over the total, without room, and without a guard slot', () => {
    const limited = setUp(32 * MiB, 2 * MiB);
    const fd = limited.memory.create(2 * MiB);
    limited.extents.acquire(fd, 0, 4096, true, undefined, {});
    expect(() => limited.extents.acquire(fd, 0, 4096, false, undefined, {})).toThrowError(
      code('ARENA_FULL'),
    );
    const narrow = setUp(6 * MiB);
    const wide = narrow.memory.create(4 * MiB);
    expect(() => narrow.extents.acquire(wide, 0, 4 * MiB, true, undefined, {})).toThrowError(
      code('ARENA_FULL'),
    );
    expect(narrow.arena.rangeCount).toBe(0);
    const slotless = setUp(32 * MiB, GiB, 2);
    slotless.extents.acquire(slotless.memory.create(4096), 0, 4096, true, undefined, {});
    expect(() =>
      slotless.extents.acquire(slotless.memory.create(4096), 0, 4096, true, undefined, {}),
    ).toThrowError(code('ARENA_FULL'));
  });

  test('refused memory has its own code', () => {
    const { memory, extents } = setUp();
    const cases = [
      [memory.create(4096, { isShmem: false }), 'MEMORY_NOT_SHMEM'],
      [memory.create(4095), 'MEMORY_TOO_SMALL'],
      [memory.create(4096, { access: 'read' }), 'MEMORY_READ_ONLY'],
      [memory.create(4096, { seals: F_SEAL_WRITE }), 'MEMORY_WRITE_SEALED'],
    ] as const;
    for (const [fd, name] of cases) {
      expect(() => extents.acquire(fd, 0, 4096, true, undefined, {})).toThrowError(code(name));
    }
    expect(extents.count).toBe(0);
  });

  test('a truncated object is reported once, to every user, and not shared any more', () => {
    const { memory, arena, extents } = setUp();
    const fd = memory.create(4 * MiB);
    const users = [{}, {}, {}, {}] as const;
    const [hit] = extents.acquire(fd, 0, 4096, true, undefined, users[0]);
    extents.acquire(fd, 8192, 4096, true, undefined, users[1]);
    extents.acquire(fd, 2 * MiB, 4096, true, undefined, users[2]);
    expect(extents.takeGone().size).toBe(0);
    arena.faultAt(hit!.offsetBytes);
    expect(extents.acquire(fd, 0, 4096, true, undefined, users[3])[0]).not.toBe(hit);
    expect(extents.takeGone()).toEqual(new Set([users[0], users[1]]));
    arena.faultAt(hit!.offsetBytes);
    expect(extents.takeGone().size).toBe(0);
  });

  test('a range that could not be cleared stays out of use until it can', () => {
    const { memory, arena, extents } = setUp(6 * MiB);
    const fd = memory.create(2 * MiB);
    const user = {};
    const taken = extents.acquire(fd, 0, 4096, true, undefined, user);
    arena.failNext = { call: 'clear', errno: 'ENOMEM' };
    extents.release(taken, undefined, user);
    expect([arena.rangeCount, extents.placedBytes]).toEqual([1, 0]);
    // There is room for this one alone: it needs the stuck range.
    expect(extents.acquire(fd, 0, 4096, true, undefined, user)).toHaveLength(1);
    expect(arena.rangeCount).toBe(1);
  });

  test('a failed placement gives its pages back', () => {
    const { memory, arena, extents } = setUp(6 * MiB);
    const fd = memory.create(2 * MiB);
    arena.failNext = { call: 'place', errno: 'ENOMEM' };
    expect(() => extents.acquire(fd, 0, 4096, true, undefined, {})).toThrowError(
      code('ARENA_FULL'),
    );
    expect(extents.acquire(fd, 0, 4096, true, undefined, {})).toHaveLength(1);
  });

  test('an object that cannot shrink is asked for once, until more of it is wanted', () => {
    const { memory, arena } = setUp();
    let asked = 0;
    const facts = {
      seals: (fd: Fd) => memory.seals(fd),
      identity: (fd: Fd) => {
        asked += 1;
        return memory.identity(fd);
      },
    };
    const extents = new Extents({ arena, memory: facts, startBytes: 4 * MiB, placedBytesMax: GiB });
    const use = (fd: Fd, startBytes: number, lengthBytes: number) => {
      const user = {};
      const lease = account();
      const taken = extents.acquire(fd, startBytes, lengthBytes, true, lease, user);
      return { taken, free: () => extents.release(taken, lease, user), lease };
    };
    const sealed = memory.create(MiB, { seals: F_SEAL_SHRINK });
    const uses = [use(sealed, 0, 4096), use(sealed, 4096, 4096), use(sealed, 0, MiB)];
    expect(asked).toBe(1);
    expect(uses.map(({ lease }) => lease.placedBytes)).toEqual([MiB, MiB, MiB]);
    expect(() => use(sealed, MiB, 4096)).toThrowError(code('MEMORY_TOO_SMALL'));
    memory.resize(sealed, 2 * MiB);
    const grown = use(sealed, MiB, 4096);
    expect(grown.taken[0]).not.toBe(uses[0]!.taken[0]);
    expect(asked).toBe(3);
    // Out of order: each user knows its place.
    for (const index of [1, 2, 0]) uses[index]!.free();
    expect(() => uses[0]!.free()).toThrowError('release by who is no user');
    grown.free();
    expect([arena.rangeCount, extents.count]).toEqual([0, 0]);
    const again = use(sealed, 0, 4096);
    arena.faultAt(again.taken[0]!.offsetBytes);
    expect(use(sealed, 0, 4096).taken[0]).not.toBe(again.taken[0]);
    sealed.close();
    expect(() => use(sealed, 0, 4096)).toThrowError();
    const unsealed = memory.create(MiB);
    use(unsealed, 0, MiB);
    memory.resize(unsealed, 4096);
    expect(() => use(unsealed, 0, MiB)).toThrowError(code('MEMORY_TOO_SMALL'));
  });

  test('users of one extent and users of several share it, and all are told', () => {
    const { memory, arena, extents } = setUp();
    const fd = memory.create(4 * MiB, { seals: F_SEAL_SHRINK });
    const [wide, narrow, late] = [{}, {}, {}] as const;
    const both = extents.acquire(fd, 0, 4 * MiB, true, undefined, wide);
    const first = extents.acquire(fd, 0, 4096, true, undefined, narrow);
    expect(extents.acquire(fd, 0, 4096, true, undefined, late)[0]).toBe(both[0]);
    arena.faultAt(both[0]!.offsetBytes);
    expect(extents.takeGone()).toEqual(new Set([wide, narrow, late]));
    extents.release(both, undefined, wide);
    expect(arena.rangeCount).toBe(1);
    extents.release(first, undefined, narrow);
    extents.release(first, undefined, late);
    expect(arena.rangeCount).toBe(0);
  });
});
