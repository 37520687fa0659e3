// Mapped windows over a server that dies, lies or does not answer.
import { afterEach, describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { F_SEAL_SHRINK } from '../../os/memory-types.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import {
  windowFrame,
  windowRegionHeader,
  windowRegionMagic,
  windowRegionType,
} from '../../uapi/window-region.js';
import { serveVfioUser } from '../../vfio-user/index.js';
import { TestEndpoint, testRegions } from '../../vfio-user/testing/endpoint.js';
import { kernelWorld } from '../../vfio-user/testing/world.js';
import { counterWord } from '../testing/counter-device.js';
import { eventually, openFrame, openStatus, pause } from '../testing/counter-fixture.js';
import { DirectHelpers } from '../testing/direct-helpers.js';
import { createServedFixture, servedOs } from '../testing/served-fixture.js';
import type { FunctionEvent, PciFunction, Window } from '../types.js';
import { createVfioUserFunction, type VfioUserFunctionOptions } from './index.js';

const page = 4096;
const uid = process.getuid!();
const ones = 0xffff_ffff;
const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of disposables.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

const memfds = (): number =>
  [...openDescriptors().values()].filter((link) => link.includes('lessor-window')).length;

interface Liar {
  readonly fn: PciFunction;
  readonly endpoint: TestEndpoint;
  readonly events: FunctionEvent[];
}

/** A server with windows that a test makes misbehave: two frames in region 2. */
async function liar(options: Partial<VfioUserFunctionOptions> = {}): Promise<Liar> {
  const os = servedOs;
  const [near, far] = os.sockets.pair();
  const endpoint = new TestEndpoint(kernelWorld());
  const offer = { lengthBytes: 16 + 2 * windowFrame.sizeBytes, flags: 3, type: windowRegionType };
  endpoint.regions = [...testRegions, offer];
  const bytes = endpoint.memory[9]!;
  windowRegionHeader.encodeAt({ magic: windowRegionMagic, version: 1, frameCount: 2 }, bytes, 0);
  for (const [index, flags] of [1, 0].entries()) {
    const frame = { region: 2, flags, offset: index * page, length: page };
    windowFrame.encodeAt(frame, bytes, 16 + index * windowFrame.sizeBytes);
  }
  const server = serveVfioUser(os.sockets.stream(far), endpoint, { clock: os.clock });
  const helpers = new DirectHelpers(os.memory);
  const socket = os.sockets.stream(near);
  const fn = await createVfioUserFunction({ os, helpers, socket, name: 'bad', ...options });
  const events: FunctionEvent[] = [];
  fn.onEvent((event) => events.push(event));
  disposables.push({ [Symbol.asyncDispose]: async () => server.close() }, fn);
  return { fn, endpoint, events };
}

function open({ fn }: Liar, access: 'read-write' | 'read' = 'read-write'): Promise<Window> {
  const ranges = [{ offsetBytes: access === 'read' ? page : 0, lengthBytes: page }];
  return fn.openWindow({ region: 2, ranges, access }, { uid });
}

const told = ({ events }: Liar, type: FunctionEvent['type']): Promise<void> =>
  eventually(servedOs.clock, type, () => events.some((event) => event.type === type));

describe('a server with windows', () => {
  it('is given memory without any right to it by DMA, above what leases may map', async () => {
    const bad = await liar();
    const { info } = bad.fn;
    expect(info.regions.map(({ mappable }) => mappable)).toEqual([false, false, true]);
    const window = await open(bad);
    const map = bad.endpoint.calls.find((call) => call.startsWith('map'))!;
    expect(map).toMatch(/^map \d+ 4096 0 -- .*lessor-window-bad-0/);
    expect(Number(map.split(' ')[1])).toBeGreaterThanOrEqual(info.aperture.end);
    await window[Symbol.asyncDispose]();
    expect(bad.endpoint.calls.filter((call) => call.startsWith('unmap'))).toHaveLength(1);
  });

  it.each([
    ['refuses the memory', 'map', 'ENOMEM'],
    ['refuses to join it', 'write 9', 'SYSTEM_FAILED'],
  ])('that %s leaves nothing behind', async (_what, call, code) => {
    const bad = await liar();
    const before = memfds();
    bad.endpoint.before = (which) => {
      if (which.startsWith(call)) throw new OsError('ENOMEM', 'test');
    };
    const made = (async () => {
      await using window = await open(bad);
      await window.connect();
    })();
    const error = await made.catch((cause: unknown) => cause as { code?: string; errno?: string });
    expect([error?.code, error?.errno]).toContain(code);
    const held = bad.endpoint.held.splice(0);
    for (const fd of held) fd.close();
    expect(memfds()).toBe(before);
    bad.endpoint.before = () => {};
    const next = await open(bad);
    await next.connect();
    await next[Symbol.asyncDispose]();
  });

  it('that seals or truncates the memory gets no window joined', async () => {
    const meddle = {
      seal: (fd: Parameters<typeof servedOs.memory.addSeals>[0]) =>
        servedOs.memory.addSeals(fd, F_SEAL_SHRINK),
      truncate: (fd: Parameters<typeof servedOs.memory.truncate>[0]) =>
        servedOs.memory.truncate(fd, 0),
    };
    for (const [what, access] of [
      ['seal', 'read-write'],
      ['truncate', 'read-write'],
      ['seal', 'read'],
    ] as const) {
      const bad = await liar();
      bad.endpoint.before = (call) => {
        if (call.startsWith('map')) meddle[what](bad.endpoint.held.at(-1)!);
      };
      const connected = open(bad, access).then((window) => window.connect());
      await expect(connected).rejects.toMatchObject({ code: 'WINDOW_SEALS' });
      expect(bad.endpoint.calls.some((call) => call.startsWith('write 9'))).toBe(false);
    }
  });

  it('cannot seal a connected window against its revocation', async () => {
    const bad = await liar();
    const window = await open(bad);
    await window.connect();
    const kept = bad.endpoint.held.at(-1)!;
    const { memory } = servedOs;
    using mapping = memory.map(window.fd!, {
      offsetBytes: 0,
      lengthBytes: page,
      writable: false,
      guard: 'ones',
    });
    expect(() => memory.addSeals(kept, F_SEAL_SHRINK)).toThrow(/EPERM/);
    const spec = { offsetBytes: 0, lengthBytes: page, writable: true };
    expect(() => memory.map(kept, spec)).toThrow(/EPERM/);
    expect(await window.zap(1000)).toBe('gone');
    expect(new Uint32Array(mapping.buffer)[0]).toBe(ones);
    expect(memory.identity(kept).lengthBytes).toBe(0);
    await window[Symbol.asyncDispose]();
  });

  it.each([
    ['refuses to let go', () => Promise.reject(new OsError('EBUSY', 'test'))],
    ['does not answer', () => new Promise<void>(() => {})],
  ])('that %s is away, and the bytes are taken all the same', async (_what, answer) => {
    const bad = await liar({ requestDeadlineMs: 200 });
    const window = await open(bad);
    await window.connect();
    const kept = bad.endpoint.held.at(-1)!.duplicate();
    bad.endpoint.before = (call) => (call.startsWith('unmap') ? answer() : undefined);
    expect(await window.zap(1000)).toBe('gone');
    await told(bad, 'away');
    expect(servedOs.memory.identity(kept).lengthBytes).toBe(0);
    kept.close();
    await window[Symbol.asyncDispose]();
  });

  it('is woken once for many kicks, and not at all without a window', async () => {
    const bad = await liar();
    const wakes = (): number => bad.endpoint.calls.filter((call) => /^write 9/.test(call)).length;
    bad.fn.kick();
    const window = await open(bad);
    bad.fn.kick();
    await window.connect();
    expect(wakes()).toBe(1);
    for (let count = 0; count < 1000; count += 1) bad.fn.kick();
    await eventually(servedOs.clock, 'woken', () => wakes() >= 3);
    await bad.fn.registers(0).read32(0);
    expect(wakes()).toBe(3);
    await window[Symbol.asyncDispose]();
  });
});

describe('the death of the server', () => {
  it('while a window is made leaves nothing of it', async () => {
    const helpers = new DirectHelpers(servedOs.memory);
    const backoff = { firstMs: 5, maxMs: 50 };
    const fixture = await createServedFixture({ helpers, reconnect: { backoff } }, true);
    disposables.push(fixture);
    const before = memfds();
    const events: string[] = [];
    fixture.fn.onEvent(({ type }) => events.push(type));
    let open: () => void = () => undefined;
    helpers.gate = new Promise((resolve) => {
      open = resolve;
    });
    const making = openStatus(fixture, 0).catch((error: unknown) => error);
    await eventually(fixture.clock, 'being made', () => memfds() > before);
    await pause(fixture.clock, 20);
    await fixture.stop();
    await fixture.serve();
    await eventually(fixture.clock, 'back', () => events.includes('back'));
    open();
    expect(await making).toMatchObject({ code: 'SERVER_GONE' });
    expect(memfds()).toBe(before);
    const next = await openStatus(fixture, 0);
    await next.connect();
    await next[Symbol.asyncDispose]();
  });

  it('cuts its windows off; the next one has none of them', async () => {
    const before = memfds();
    const backoff = { firstMs: 5, maxMs: 50 };
    const fixture = await createServedFixture({ reconnect: { backoff } }, true);
    disposables.push(fixture);
    const events: string[] = [];
    fixture.fn.onEvent(({ type }) => events.push(type));
    const [window, unjoined] = [await openFrame(fixture, 0), await openFrame(fixture, 1)];
    await window.connect();
    await fixture.stop();
    await eventually(fixture.clock, 'away', () => events.includes('away'));
    expect(await window.registers.read32(0)).toBe(ones);
    await expect(openStatus(fixture, 2)).rejects.toMatchObject({ code: 'SERVER_GONE' });
    await fixture.serve();
    await eventually(fixture.clock, 'back', () => events.includes('back'));
    await expect(unjoined.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    expect(await window.zap(1000)).toBe('gone');
    await window[Symbol.asyncDispose]();
    await unjoined[Symbol.asyncDispose]();
    const next = await openFrame(fixture, 0);
    await next.connect();
    await next.registers.write32(4 * counterWord.TARGET, 3);
    expect(await next.registers.read32(4 * counterWord.TARGET)).toBe(3);
    await next[Symbol.asyncDispose]();
    expect(memfds()).toBe(before);
  });
});
