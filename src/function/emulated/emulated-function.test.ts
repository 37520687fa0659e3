// The emulated function under stress: bad devices, hostile clients, leaks, sleep.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openCount, openDescriptors } from '../../os/testing/open-descriptors.js';
import { ClientProcess } from '../testing/client-process.js';
import {
  counterId,
  counterManner,
  counterRegister,
  counterStatusWord,
  counterWord,
} from '../testing/counter-device.js';
import {
  countOf,
  eventually,
  frameOffset,
  openFrame,
  openStatus,
  pause,
} from '../testing/counter-fixture.js';
import { DirectHelpers } from '../testing/direct-helpers.js';
import {
  createEmulatedFixture,
  type EmulatedFixture,
  realOs,
} from '../testing/emulated-fixture.js';
import type { FunctionEvent, Window } from '../types.js';
import { createEmulatedFunction } from './index.js';

const register = counterRegister;
const { clock, memory } = realOs;

/** Mappings of this process by kind: windows, scratch, client memory. */
function mappingCount(): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => /memfd:lessor-(window|scratch)/.test(line)).length;
}

function memfdCount(): number {
  return [...openDescriptors().values()].filter((name) => name.includes('memfd:lessor-w')).length;
}

async function openConnected(fixture: EmulatedFixture, index: number): Promise<Window> {
  const window = await openFrame(fixture, index);
  await window.connect();
  return window;
}

async function setTarget(fixture: EmulatedFixture, window: Window, value: number): Promise<void> {
  await window.registers.write32(4 * counterWord.TARGET, value);
  fixture.fn.kick();
}

/** Requests that came with the last step before bad manners begin are still answered. */
async function keepAsking(fixture: EmulatedFixture): Promise<never> {
  for (;;) await fixture.fn.registers(0).read32(register.ID);
}

describe('device', () => {
  it('that cannot be made ends in an error, with nothing left behind', async () => {
    const before = openCount();
    const made = createEmulatedFixture({ device: { broken: true } });
    await expect(made).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
      message: expect.stringContaining('asked to fail'),
    });
    await eventually(clock, 'no descriptor is left', () => openCount() === before);
    expect(mappingCount()).toBe(0);
  });

  it('that the module does not export is named', async () => {
    const module = new URL('../testing/counter-device.js', import.meta.url).href;
    const helpers = new DirectHelpers(memory);
    const device = { module, exportName: 'createNothing', options: undefined };
    const made = createEmulatedFunction({ os: realOs, helpers, device, name: 'nothing' });
    await expect(made).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
      message: expect.stringContaining('exports no function createNothing'),
    });
  });

  it.each([
    ['throws', counterManner.throw, 'asked to throw'],
    ['exits', counterManner.exit, 'ended with 7'],
  ])('that %s takes the function with it, loudly', async (_what, manners, detail) => {
    await using fixture = await createEmulatedFixture();
    const { fn } = fixture;
    const events: FunctionEvent[] = [];
    using _listener = fn.onEvent((event) => events.push(event));
    const window = await openConnected(fixture, 0);
    const eventFd = realOs.events.createEventFd();
    await fn.setInterrupt(0, eventFd);
    await fn.registers(0).write32(register.MANNERS, manners);
    await expect(keepAsking(fixture)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    await eventually(clock, 'the function is gone', () => events.length > 0);
    expect(events).toEqual([{ type: 'gone', detail: expect.stringContaining(detail) }]);
    const code = { code: 'FUNCTION_GONE' };
    await expect(fn.registers(0).read32(0)).rejects.toMatchObject(code);
    await expect(openFrame(fixture, 1)).rejects.toMatchObject(code);
    await expect(fn.reset(AbortSignal.timeout(100))).rejects.toMatchObject(code);
    const late = realOs.events.createEventFd();
    await expect(fn.setInterrupt(0, late)).rejects.toMatchObject(code);
    expect(late.isOpen).toBe(false);
    // Taking back works to the last.
    await fn.setInterrupt(0, undefined);
    expect(eventFd.isOpen).toBe(false);
    await window.detach();
    expect(await window.zap(1000)).toBe('gone');
    await window[Symbol.asyncDispose]();
  });

  it('that hangs is given up by requests, and replaced by a reset', async () => {
    await using fixture = await createEmulatedFixture({ requestDeadlineMs: 100 });
    const { fn } = fixture;
    const events: FunctionEvent[] = [];
    using _listener = fn.onEvent((event) => events.push(event));
    const window = await openConnected(fixture, 0);
    const other = await openConnected(fixture, 1);
    await setTarget(fixture, window, 3);
    await eventually(clock, 'count of 3', async () => (await countOf(fixture, 0)) === 3);
    await fn.registers(0).write32(register.MANNERS, counterManner.hang);
    await expect(keepAsking(fixture)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(events).toEqual([{ type: 'error', detail: 'the device does not answer' }]);
    // The cut needs no worker.
    await other.detach();
    await fn.reset(AbortSignal.timeout(50));
    expect(fn.info.epoch).toBe(2);
    await other[Symbol.asyncDispose]();
    expect(await fn.registers(0).read32(register.ID)).toBe(counterId);
    await setTarget(fixture, window, 5);
    await eventually(clock, 'count of 5', async () => (await countOf(fixture, 0)) === 5);
    expect(events).toHaveLength(1);
    await window[Symbol.asyncDispose]();
  });
});

describe('sleep', () => {
  it('costs next to no processor time, and ends with work or with a kick', async () => {
    await using fixture = await createEmulatedFixture();
    const { fn } = fixture;
    const window = await openConnected(fixture, 0);
    const status = frameOffset(fixture, 0) + memory.pageBytes + 4 * counterStatusWord.NEED_WAKEUP;
    const isAsleep = async (): Promise<boolean> => (await fn.registers(2).read32(status)) === 1;
    await eventually(clock, 'the device sleeps', isAsleep);
    await pause(clock, 50);
    const before = process.cpuUsage();
    await pause(clock, 400);
    const used = process.cpuUsage(before);
    expect((used.user + used.system) / 1000).toBeLessThan(40);
    expect(await isAsleep()).toBe(true);
    // Without a kick nobody tells the device.
    await window.registers.write32(4 * counterWord.TARGET, 4);
    await pause(clock, 20);
    expect(await countOf(fixture, 0)).toBe(0);
    fn.kick();
    await eventually(clock, 'count of 4', async () => (await countOf(fixture, 0)) === 4);
    await eventually(clock, 'the device sleeps again', isAsleep);
    await window[Symbol.asyncDispose]();
  });

  it('ends when the device wanted to be woken', async () => {
    await using fixture = await createEmulatedFixture();
    const registers = fixture.fn.registers(0);
    await registers.write32(register.WAKE_AFTER, 30);
    expect(await registers.read32(register.WAKES)).toBe(0);
    await pause(clock, 60);
    const wakes = async (): Promise<boolean> => (await registers.read32(register.WAKES)) === 1;
    await eventually(clock, 'the wake-up', wakes);
  });

  it('lets through what is asked while it begins', async () => {
    await using fixture = await createEmulatedFixture({ idleSpinMicros: 0 });
    const registers = fixture.fn.registers(0);
    for (let value = 0; value < 300; value += 1) {
      await registers.write32(register.STORAGE, value);
      expect(await registers.read32(register.STORAGE)).toBe(value);
      if (value % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  });
});

describe('client process', () => {
  it('and device go on while the main thread is blocked for 500 ms', async () => {
    await using fixture = await createEmulatedFixture({ idleSpinMicros: 5_000_000 });
    const window = await openFrame(fixture, 0);
    const status = await openStatus(fixture, 0);
    await using client = await ClientProcess.start(window, status);
    await window.connect();
    await status.connect();
    client.tell({ type: 'count', durationMs: 700 });
    await pause(clock, 50);
    const fromNs = process.hrtime.bigint();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    const untilNs = process.hrtime.bigint();
    const { count, firstNs, lastNs, gapMsMax } = await client.reply();
    // All of the time in which main was blocked lies between the first and the last count, and
    // no two counts are as far apart: some fell into it, however busy the machine is.
    expect(BigInt(firstNs)).toBeLessThan(fromNs);
    expect(BigInt(lastNs)).toBeGreaterThan(untilNs);
    expect(gapMsMax).toBeLessThan(500);
    expect(count).toBeGreaterThan(10);
  });

  it('that truncates its window ends only itself', async () => {
    await using fixture = await createEmulatedFixture();
    const window = await openFrame(fixture, 0);
    await using client = await ClientProcess.start(window);
    await window.connect();
    const other = await openConnected(fixture, 1);
    const told: string[] = [];
    using _one = window.onTruncated(() => told.push('window'));
    using _two = other.onTruncated(() => told.push('other'));
    await client.ask({ type: 'truncate' });
    await setTarget(fixture, other, 2);
    await eventually(clock, 'the truncation', () => told.length > 0);
    await eventually(clock, 'the other goes on', async () => (await countOf(fixture, 1)) === 2);
    expect(told).toEqual(['window']);
    const { revoked } = await client.ask({ type: 'store', durationMs: 5 });
    expect(revoked).toBe(true);
    await window[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  it('that spins on its window reaches nobody once detach has resolved', async () => {
    await using fixture = await createEmulatedFixture({ idleSpinMicros: 5_000_000 });
    const window = await openFrame(fixture, 0);
    await using client = await ClientProcess.start(window);
    await window.connect();
    client.tell({ type: 'store', durationMs: 600 });
    const seen = (): Promise<number> => {
      const at = frameOffset(fixture, 0) + memory.pageBytes + 4 * counterStatusWord.TARGET_SEEN;
      return fixture.fn.registers(2).read32(at);
    };
    await eventually(clock, 'the device sees stores', async () => (await seen()) > 10);
    await window.detach();
    // The worker acknowledged: its next look finds scratch, which is zero.
    await eventually(
      clock,
      'the count starts again',
      async () => (await countOf(fixture, 0)) === 0,
    );
    const last = await seen();
    for (let look = 0; look < 20; look += 1) {
      await pause(clock, 2);
      expect(await countOf(fixture, 0)).toBe(0);
      expect(await seen()).toBe(last);
    }
    const next = await openConnected(fixture, 0);
    await pause(clock, 20);
    expect(await countOf(fixture, 0)).toBe(0);
    const { count } = await client.reply();
    expect(count).toBeGreaterThan(last);
    expect(await window.zap(1000)).toBe('gone');
    await next[Symbol.asyncDispose]();
  });
});

describe('helpers', () => {
  it('that do not answer leave orphan pages and no connection', async () => {
    const helpers = new DirectHelpers(memory);
    await using fixture = await createEmulatedFixture({ helpers });
    const window = await openConnected(fixture, 0);
    const unsealed = await openFrame(fixture, 1);
    helpers.isStuck = true;
    expect(await window.zap(10)).toBe('orphan');
    await expect(unsealed.connect()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect(unsealed.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    await window[Symbol.asyncDispose]();
    await unsealed[Symbol.asyncDispose]();
  });
});

describe('a window', () => {
  it.each(['detach', 'dispose'] as const)('that is to %s while it connects', async (end) => {
    const helpers = new DirectHelpers(memory);
    await using fixture = await createEmulatedFixture({ helpers });
    let open = (): void => {};
    helpers.gate = new Promise((resolve) => {
      open = resolve;
    });
    const window = await openFrame(fixture, 0);
    const connected = window.connect();
    const again = window.connect();
    const ended = end === 'detach' ? window.detach() : window[Symbol.asyncDispose]();
    again.catch(() => {});
    if (end === 'detach') await ended;
    open();
    await expect(connected).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    await expect(again).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    await ended;
    if (end === 'dispose') {
      await expect(window.zap(100)).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    }
    await window[Symbol.asyncDispose]();
    const next = await openConnected(fixture, 0);
    await setTarget(fixture, next, 2);
    await eventually(clock, 'count of 2', async () => (await countOf(fixture, 0)) === 2);
    await next[Symbol.asyncDispose]();
  });
});

describe('what is left', () => {
  it('of a thousand windows is nothing', async () => {
    await using fixture = await createEmulatedFixture();
    const mappingsBefore = mappingCount();
    const fdsBefore = openCount();
    let most = 0;
    for (let round = 0; round < 250; round += 1) {
      const windows = await Promise.all([0, 1, 2, 3].map((index) => openFrame(fixture, index)));
      for (const window of windows) if (round % 2 === 0) await window.connect();
      if (round === 0) most = mappingCount();
      for (const window of windows) await window[Symbol.asyncDispose]();
    }
    expect(most).toBe(mappingsBefore + 4);
    expect(mappingCount()).toBe(mappingsBefore);
    expect(openCount()).toBe(fdsBefore);
  });

  it('of a function is nothing, whatever its owner forgot', async () => {
    const fixture = await createEmulatedFixture();
    await openConnected(fixture, 0);
    await openStatus(fixture, 1);
    await fixture.fn.setInterrupt(1, realOs.events.createEventFd());
    await fixture[Symbol.asyncDispose]();
    await fixture[Symbol.asyncDispose]();
    expect(mappingCount()).toBe(0);
    expect(memfdCount()).toBe(0);
    await expect(fixture.fn.registers(0).read32(0)).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
    });
    const fds = openCount();
    for (let round = 0; round < 3; round += 1) {
      const again = await createEmulatedFixture();
      await again[Symbol.asyncDispose]();
    }
    expect(openCount()).toBe(fds);
  });
});
