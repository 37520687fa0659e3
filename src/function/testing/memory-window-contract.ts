// What a mapped Window does whose memory stands in for registers, besides what every mapped one
// does: it starts empty, and its holder can seal and truncate it.
import { expect, it } from 'vitest';
import { F_SEAL_FUTURE_WRITE, F_SEAL_SEAL, F_SEAL_SHRINK } from '../../os/memory-types.js';
import type { BackingSpec } from '../types.js';
import { counterWord } from './counter-device.js';
import { countOf, eventually, frameRegion, kick, pause } from './counter-fixture.js';
import type { WindowSuite } from './window-suite.js';

const target = counterWord.TARGET;
const ones = 0xffff_ffff;

/** Declares the tests, in a suite of mapped windows. */
export function memoryWindowTests(suite: WindowSuite): void {
  it('starts from all zeros, whatever the client stored before', async () => {
    const window = await suite.open(0);
    using client = suite.mapAsClient(window);
    client.u32[target] = 9;
    client.u32[100] = 9;
    kick(suite.fixture);
    await pause(suite.fixture.clock, 5);
    expect(await countOf(suite.fixture, 0)).toBe(0);
    await window.connect();
    expect(client.u32[target]).toBe(0);
    expect(client.u32[100]).toBe(0);
    expect(await countOf(suite.fixture, 0)).toBe(0);
  });

  it('shows nothing of the window before', async () => {
    const window = await suite.open(3);
    await window.connect();
    await window.registers.write32(4 * target, 6);
    kick(suite.fixture);
    await suite.reaches(3, 6);
    await window[Symbol.asyncDispose]();
    const next = await suite.open(3);
    await next.connect();
    expect(await next.registers.read32(4 * target)).toBe(0);
    await next.registers.write32(4 * target, 2);
    kick(suite.fixture);
    await suite.reaches(3, 2);
  });

  it.each([
    ['shrinking', F_SEAL_SHRINK],
    ['shrinking for good', F_SEAL_SHRINK | F_SEAL_SEAL],
    ['nothing more', F_SEAL_SEAL],
  ])('refuses to connect when the holder sealed against %s', async (_what, seals) => {
    const window = await suite.open(0);
    suite.fixture.memory.addSeals(window.fd!, seals);
    await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_SEALS' });
    await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
  });

  it('connects when the holder added the very same seals first', async () => {
    const window = await suite.open(0);
    using client = suite.mapAsClient(window);
    suite.fixture.memory.addSeals(window.fd!, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    await window.connect();
    client.u32[target] = 2;
    kick(suite.fixture);
    await suite.reaches(0, 2);
    expect(() => suite.mapAsClient(window)).toThrow(/EPERM/);
  });

  it('refuses to connect what the holder truncated', async () => {
    const window = await suite.open(0);
    suite.fixture.memory.truncate(window.fd!, 0);
    await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_SEALS' });
    const other = await suite.open(1);
    await other.connect();
    await other.registers.write32(4 * target, 2);
    kick(suite.fixture);
    await suite.reaches(1, 2);
  });

  it('tells of a truncation, and of no other window', async () => {
    const [window, other] = [await suite.open(0), await suite.open(1)];
    await window.connect();
    await other.connect();
    const told: string[] = [];
    using _one = window.onTruncated(() => told.push('window'));
    using _two = other.onTruncated(() => told.push('other'));
    suite.fixture.memory.truncate(window.fd!, 0);
    // Noticed when the device next touches it, or else a message.
    await eventually(suite.fixture.clock, 'the truncation', async () => {
      kick(suite.fixture);
      if (!suite.traits.seesFaults) await window.registers.read32(0);
      return told.length > 0;
    });
    await other.registers.write32(4 * target, 4);
    kick(suite.fixture);
    await suite.reaches(1, 4);
    expect(await window.registers.read32(4 * target)).toBe(ones);
    expect(told).toEqual(['window']);
    await window.detach();
    expect(['gone', 'orphan']).toContain(await window.zap(1000));
  });

  it('refuses ranges that are no window', async () => {
    const page = suite.fixture.memory.pageBytes;
    const refused = (spec: BackingSpec): Promise<void> =>
      expect(suite.fixture.fn.openWindow(spec, { uid: 0 })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    const one = (region: number, offsetBytes: number, lengthBytes: number): BackingSpec => ({
      region,
      ranges: [{ offsetBytes, lengthBytes }],
      access: 'read-write',
    });
    await refused({ region: frameRegion, ranges: [], access: 'read' });
    await refused(one(9, 0, page));
    await refused(one(frameRegion, 0, 0));
    await refused(one(frameRegion, 0, page / 2));
    await refused(one(frameRegion, page / 2, page));
    await refused(one(frameRegion, page, page));
    await refused(one(frameRegion, -page, page));
    await refused(one(frameRegion, 0, 2 ** 40));
    await refused(one(4, 0, 64));
    const twice = [0, 0].map((offsetBytes) => ({ offsetBytes, lengthBytes: page }));
    await refused({ region: frameRegion, ranges: twice, access: 'read-write' });
  });
}
