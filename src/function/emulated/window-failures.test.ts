// Every system call behind a window fails once: the error comes out, nothing stays behind.
import { describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import type { Arena, MemoryOs } from '../../os/memory-types.js';
import { openCount } from '../../os/testing/open-descriptors.js';
import { frameOffset, openFrame, openStatus } from '../testing/counter-fixture.js';
import { DirectHelpers } from '../testing/direct-helpers.js';
import { createEmulatedFixture, realOs } from '../testing/emulated-fixture.js';

/** `memory` whose method `failing.name` fails while it is set. */
function faulty(memory: MemoryOs, failing: { name: string | undefined }): MemoryOs {
  const trap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (object, name) => {
        const value = Reflect.get(object, name, object) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (failing.name === name) throw new OsError('ENOSPC', String(name));
          const result: unknown = Reflect.apply(value, object, args);
          return name === 'createArena' ? trap(result as Arena) : result;
        };
      },
    });
  return trap(memory);
}

describe('a window that cannot be made', () => {
  it('leaves nothing behind, whatever failed', async () => {
    const failing = { name: undefined as string | undefined };
    const os = { ...realOs, memory: faulty(realOs.memory, failing) };
    const helpers = new DirectHelpers(realOs.memory);
    await using fixture = await createEmulatedFixture({ helpers, os });
    const fdsBefore = openCount();
    for (const name of ['create', 'place', 'addSeals']) {
      failing.name = name;
      await expect(openFrame(fixture, 0)).rejects.toMatchObject({ errno: 'ENOSPC', syscall: name });
      expect(openCount()).toBe(fdsBefore);
    }
    for (const name of ['setMode', 'reopenReadOnly']) {
      failing.name = name;
      await expect(openStatus(fixture, 0)).rejects.toMatchObject({ errno: 'ENOSPC' });
      expect(openCount()).toBe(fdsBefore);
    }
    failing.name = undefined;
    // Frames and arena pages of the failed ones are free again.
    const windows = [await openFrame(fixture, 0), await openStatus(fixture, 0)];
    for (const window of windows) await window.connect();
    for (const window of windows) await window[Symbol.asyncDispose]();
    expect(openCount()).toBe(fdsBefore);
  });

  it('says that the arena is full, until another is gone', async () => {
    const helpers = new DirectHelpers(realOs.memory);
    const { pageBytes } = realOs.memory;
    // An arena of 4 MiB has 2 MiB for windows; scratch takes most of it.
    const frameCount = (2 ** 21 / pageBytes - 2) / 2;
    const device = { frameCount };
    await using fixture = await createEmulatedFixture({ helpers, device, arenaBytes: 2 ** 22 });
    const one = await openFrame(fixture, 0);
    const two = await openFrame(fixture, 1);
    await expect(openFrame(fixture, 2)).rejects.toMatchObject({ code: 'ARENA_FULL' });
    await one[Symbol.asyncDispose]();
    const three = await openFrame(fixture, 2);
    expect(frameOffset(fixture, 2)).toBeGreaterThan(0);
    await two[Symbol.asyncDispose]();
    await three[Symbol.asyncDispose]();
  });

  it('takes the function along when its scratch pages do not fit', async () => {
    const fdsBefore = openCount();
    const device = { frameCount: 1024 };
    const made = createEmulatedFixture({ device, arenaBytes: 2 ** 22 });
    await expect(made).rejects.toMatchObject({ code: 'ARENA_FULL' });
    expect(openCount()).toBe(fdsBefore);
  });
});
