// What a mapped Window does that is the device's own registers, besides what every mapped one does:
// there is nothing to join or to empty, and what is behind it outlasts the window.
import { expect, it } from 'vitest';
import type { BackingSpec } from '../types.js';
import { ClientProcess } from './client-process.js';
import { counterWord } from './counter-device.js';
import { countOf, frameOffset, frameRegion, kick, openFrame, pause } from './counter-fixture.js';
import type { WindowSuite } from './window-suite.js';

const target = counterWord.TARGET;
const ones = 0xffff_ffff;

/** Declares the tests, in a suite of mapped windows. */
export function registerWindowTests(suite: WindowSuite): void {
  it('is the device from the start for who maps it, and until detach for nobody else', async () => {
    const { fixture } = suite;
    const window = await suite.open(0);
    using client = suite.mapAsClient(window);
    client.u32[target] = 9;
    kick(fixture);
    await suite.reaches(0, 9);
    expect(await window.registers.read32(4 * target)).toBe(ones);
    // Never connected, and cut off all the same.
    await window.detach();
    client.u32[target] = 90;
    kick(fixture);
    await pause(fixture.clock, 5);
    expect(await countOf(fixture, 0)).toBe(9);
    expect(client.revoked).toBe(true);
    expect(() => suite.mapAsClient(window)).toThrow(/ENODEV/);
  });

  it('leaves the device as it is', async () => {
    const { fixture } = suite;
    const window = await suite.open(3);
    await window.connect();
    await window.registers.write32(4 * target, 6);
    kick(fixture);
    await suite.reaches(3, 6);
    await window[Symbol.asyncDispose]();
    await window[Symbol.asyncDispose]();
    const next = await suite.open(3);
    using client = suite.mapAsClient(next);
    expect(client.u32[target]).toBe(6);
  });

  it('ends under a client that spins on it, and for all of its mappings', async () => {
    const window = await suite.open(1);
    await window.connect();
    using here = suite.mapAsClient(window);
    await using client = await ClientProcess.start(window);
    client.tell({ type: 'store', durationMs: 2000 });
    await pause(suite.fixture.clock, 500);
    await window.detach();
    const reply = await client.reply();
    expect(reply.count).toBeGreaterThan(0);
    expect(reply.revoked).toBe(true);
    expect(here.u32[target]).toBe(ones);
    await window[Symbol.asyncDispose]();
    const other = await suite.open(1);
    expect(await countOf(suite.fixture, 1)).not.toBe(ones);
    using again = suite.mapAsClient(other);
    again.u32[target] = 4;
    kick(suite.fixture);
    await suite.reaches(1, 4);
  });

  it('shows several ranges to who maps it, one after the other', async () => {
    const { fixture } = suite;
    const page = fixture.memory.pageBytes;
    const ranges = [2, 0].map((index) => ({
      offsetBytes: frameOffset(fixture, index),
      lengthBytes: page,
    }));
    const spec: BackingSpec = { region: frameRegion, ranges, access: 'read-write' };
    const window = suite.keep(await fixture.fn.openWindow(spec, { uid: 0 }));
    using client = suite.mapAsClient(window);
    client.u32[target] = 3;
    client.u32[page / 4 + target] = 5;
    kick(fixture);
    await suite.reaches(2, 3);
    await suite.reaches(0, 5);
    await window.detach();
    expect(client.u32[page / 4]).toBe(ones);
  });

  it('is reached by message where it is not of whole pages', async () => {
    const { fixture } = suite;
    const page = fixture.memory.pageBytes;
    const part = (offsetBytes: number, lengthBytes: number): BackingSpec => ({
      region: frameRegion,
      ranges: [{ offsetBytes, lengthBytes }],
      access: 'read-write',
    });
    const half = suite.keep(await fixture.fn.openWindow(part(0, page / 2), { uid: 0 }));
    expect(half).toMatchObject({ fd: undefined, revocation: 'mediated' });
    await expect(openFrame(fixture, 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const across = part(3 * page - 8, page);
    const other = suite.keep(await fixture.fn.openWindow(across, { uid: 0 }));
    expect(other.revocation).toBe('mediated');
  });

  it('is none of ranges that are no window', async () => {
    const { fixture } = suite;
    const page = fixture.memory.pageBytes;
    const refused = (region: number, ...places: [number, number][]): Promise<void> => {
      const ranges = places.map(([offsetBytes, lengthBytes]) => ({ offsetBytes, lengthBytes }));
      const spec: BackingSpec = { region, ranges, access: 'read-write' };
      const opening = fixture.fn.openWindow(spec, { uid: 0 });
      return expect(opening).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    };
    await refused(frameRegion);
    await refused(9, [0, page]);
    await refused(1, [0, page]);
    await refused(frameRegion, [0, 0]);
    await refused(frameRegion, [4, 8]);
    await refused(frameRegion, [-page, page]);
    await refused(frameRegion, [0, 2 ** 40]);
    await refused(4, [0, page]);
    await refused(frameRegion, [0, page], [0, page]);
  });
}
