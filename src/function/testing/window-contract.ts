// What every Window does, whatever is underneath. Runs over a CounterDevice.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Mapping,
} from '../../os/memory-types.js';
import type { BackingSpec, Window } from '../types.js';
import { counterRegister, counterStatusWord, counterWord } from './counter-device.js';
import {
  type CounterFixture,
  countOf,
  eventually,
  type FunctionTraits,
  frameOffset,
  frameRegion,
  openFrame,
  openStatus,
  pause,
} from './counter-fixture.js';
import { mediatedWindowContract } from './mediated-window-contract.js';

const target = counterWord.TARGET;
const ones = 0xffff_ffff;

/** Declares the suite; `make` is called once and its result disposed. */
export function windowContract(
  name: string,
  traits: FunctionTraits,
  make: () => Promise<CounterFixture>,
): void {
  if (traits.mapsWindows) mappedWindowContract(name, traits, make);
  else mediatedWindowContract(name, make);
}

function mappedWindowContract(
  name: string,
  traits: FunctionTraits,
  make: () => Promise<CounterFixture>,
): void {
  describe(`window of ${name}`, () => {
    let fixture: CounterFixture;
    const opened: AsyncDisposable[] = [];

    beforeAll(async () => {
      fixture = await make();
    });

    afterEach(async () => {
      for (const window of opened.splice(0)) await window[Symbol.asyncDispose]();
    });

    afterAll(() => fixture[Symbol.asyncDispose]());

    const open = async (index: number): Promise<Window> => {
      const window = await openFrame(fixture, index);
      opened.push(window);
      return window;
    };

    /** Maps as a client does: guarded, so that a revoked mapping reads ones. */
    const mapAsClient = (window: Window, writable = true): Mapping & { u32: Uint32Array } => {
      const { lengthBytes } = window;
      const spec = { offsetBytes: 0, lengthBytes, writable, guard: 'ones' } as const;
      const mapping = fixture.memory.map(window.fd!, spec);
      return Object.assign(mapping, { u32: new Uint32Array(mapping.buffer) });
    };

    const reaches = (index: number, count: number): Promise<void> =>
      eventually(
        fixture.clock,
        `counter ${index} at ${count}`,
        async () => (await countOf(fixture, index)) === count,
      );

    it('reads ones and drops writes by message before it is connected', async () => {
      const window = await open(0);
      expect(window.revocation).toBe('kernel');
      expect(window.lengthBytes).toBe(fixture.memory.pageBytes);
      expect(await window.registers.read32(0)).toBe(ones);
      expect(await window.registers.read8(1)).toBe(0xff);
      expect(await window.registers.read64(8)).toBe(0xffff_ffff_ffff_ffffn);
      await window.registers.write32(4 * target, 3);
      await window.connect();
      expect(await window.registers.read32(4 * target)).toBe(0);
    });

    it('starts from all zeros, whatever the client stored before', async () => {
      const window = await open(0);
      using client = mapAsClient(window);
      client.u32[target] = 9;
      client.u32[100] = 9;
      fixture.fn.kick();
      await pause(fixture.clock, 5);
      expect(await countOf(fixture, 0)).toBe(0);
      await window.connect();
      expect(client.u32[target]).toBe(0);
      expect(client.u32[100]).toBe(0);
      expect(await countOf(fixture, 0)).toBe(0);
    });

    it('joins the client and the device, by mapping and by message', async () => {
      const window = await open(1);
      using client = mapAsClient(window);
      await window.connect();
      await window.connect();
      Atomics.store(client.u32, target, 5);
      fixture.fn.kick();
      await reaches(1, 5);
      expect(await window.registers.read32(4 * target)).toBe(5);
      await window.registers.write32(4 * target, 8);
      fixture.fn.kick();
      await reaches(1, 8);
      expect(client.u32[target]).toBe(8);
      await window.registers.write64(64, 0x1122_3344_5566_7788n);
      expect(client.u32[16]).toBe(0x5566_7788);
      expect(await window.registers.read16(66)).toBe(0x5566);
    });

    it('is seen by a device that slept when it was connected', async () => {
      for (let round = 0; round < 5; round += 1) {
        const status = await openStatus(fixture, 2);
        const window = await open(2);
        await pause(fixture.clock, 3);
        await status.connect();
        await window.connect();
        // Above what it counted for the window before.
        await window.registers.write32(4 * target, 3 + round);
        // As a client does: a kick only when the device asks for it.
        const need = await status.registers.read32(4 * counterStatusWord.NEED_WAKEUP);
        if (need !== 0) fixture.fn.kick();
        const count = (): Promise<number> => status.registers.read32(4 * counterStatusWord.COUNT);
        const isThere = async (): Promise<boolean> => (await count()) === 3 + round;
        await eventually(fixture.clock, 'the count', isThere);
        await window[Symbol.asyncDispose]();
        await status[Symbol.asyncDispose]();
      }
    });

    it('is cut off by detach, also for what the client still maps', async () => {
      const window = await open(1);
      using client = mapAsClient(window);
      await window.connect();
      client.u32[target] = 5;
      fixture.fn.kick();
      await reaches(1, 5);
      await window.detach();
      await window.detach();
      const before = await countOf(fixture, 1);
      client.u32[target] = 50;
      fixture.fn.kick();
      await pause(fixture.clock, 5);
      expect(await countOf(fixture, 1)).toBeLessThanOrEqual(before);
      expect(await window.registers.read32(4 * target)).toBe(ones);
      expect(client.u32[target]).toBe(50);
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    });

    it('is zapped from every mapping', async () => {
      const window = await open(2);
      using client = mapAsClient(window);
      await window.connect();
      client.u32[target] = 1;
      expect(await window.zap(1000)).toBe('gone');
      expect(client.u32[target]).toBe(ones);
      expect(client.revoked).toBe(true);
      expect(await window.zap(1000)).toBe('gone');
    });

    it('shows a read-only window that nobody can write', async () => {
      const window = await openStatus(fixture, 0);
      opened.push(window);
      const writable = await open(0);
      expect(() => mapAsClient(window)).toThrow(/EACCES|EPERM/);
      using client = mapAsClient(window, false);
      await window.connect();
      await writable.connect();
      await writable.registers.write32(4 * target, 7);
      fixture.fn.kick();
      await eventually(fixture.clock, 'status shows 7', () => client.u32[0] === 7);
      expect(await window.registers.read32(0)).toBe(7);
      await expect(window.registers.write32(0, 1)).rejects.toMatchObject({
        code: 'WINDOW_READ_ONLY',
      });
      expect(await window.zap(1000)).toBe('gone');
      expect(client.u32[0]).toBe(ones);
    });

    it.each([
      ['shrinking', F_SEAL_SHRINK],
      ['shrinking for good', F_SEAL_SHRINK | F_SEAL_SEAL],
      ['nothing more', F_SEAL_SEAL],
    ])('refuses to connect when the holder sealed against %s', async (_what, seals) => {
      const window = await open(0);
      fixture.memory.addSeals(window.fd!, seals);
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_SEALS' });
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    });

    it('connects when the holder added the very same seals first', async () => {
      const window = await open(0);
      using client = mapAsClient(window);
      fixture.memory.addSeals(window.fd!, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
      await window.connect();
      client.u32[target] = 2;
      fixture.fn.kick();
      await reaches(0, 2);
      expect(() => mapAsClient(window)).toThrow(/EPERM/);
    });

    it('refuses to connect what the holder truncated', async () => {
      const window = await open(0);
      fixture.memory.truncate(window.fd!, 0);
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_SEALS' });
      const other = await open(1);
      await other.connect();
      await other.registers.write32(4 * target, 2);
      fixture.fn.kick();
      await reaches(1, 2);
    });

    it('tells of a truncation, and of no other window', async () => {
      const [window, other] = [await open(0), await open(1)];
      await window.connect();
      await other.connect();
      const told: string[] = [];
      using _one = window.onTruncated(() => told.push('window'));
      using _two = other.onTruncated(() => told.push('other'));
      fixture.memory.truncate(window.fd!, 0);
      // Noticed when the device next touches it, or else a message.
      await eventually(fixture.clock, 'the truncation', async () => {
        fixture.fn.kick();
        if (!traits.seesFaults) await window.registers.read32(0);
        return told.length > 0;
      });
      await other.registers.write32(4 * target, 4);
      fixture.fn.kick();
      await reaches(1, 4);
      expect(await window.registers.read32(4 * target)).toBe(ones);
      expect(told).toEqual(['window']);
      await window.detach();
      expect(['gone', 'orphan']).toContain(await window.zap(1000));
    });

    it('keeps a frame to one window at a time', async () => {
      const window = await open(3);
      await expect(openFrame(fixture, 3)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await window.connect();
      await window.registers.write32(4 * target, 6);
      fixture.fn.kick();
      await reaches(3, 6);
      await window[Symbol.asyncDispose]();
      await window[Symbol.asyncDispose]();
      expect(await window.registers.read32(0)).toBe(ones);
      const next = await open(3);
      await next.connect();
      expect(await next.registers.read32(4 * target)).toBe(0);
      await next.registers.write32(4 * target, 2);
      fixture.fn.kick();
      await reaches(3, 2);
    });

    it('shows several frames one after the other', async () => {
      const page = fixture.memory.pageBytes;
      const ranges = [2, 0].map((index) => ({
        offsetBytes: frameOffset(fixture, index),
        lengthBytes: page,
      }));
      const spec: BackingSpec = { region: frameRegion, ranges, access: 'read-write' };
      const window = await fixture.fn.openWindow(spec, { uid: process.getuid!() });
      opened.push(window);
      expect(window.lengthBytes).toBe(2 * page);
      await window.connect();
      await window.registers.write32(0, 2);
      await window.registers.write32(page, 3);
      fixture.fn.kick();
      await reaches(2, 2);
      await reaches(0, 3);
      await expect(window.registers.read32(2 * page)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    });

    it('reaches registers without frames by message alone', async () => {
      const ranges = [{ offsetBytes: counterRegister.STORAGE, lengthBytes: 32 }];
      const uid = process.getuid!();
      const window = await fixture.fn.openWindow(
        { region: 0, ranges, access: 'read-write' },
        { uid },
      );
      opened.push(window);
      expect(window.fd).toBeUndefined();
      expect(window.revocation).toBe('mediated');
      await window.registers.write32(4, 5);
      expect(await window.registers.read16(4)).toBe(0xffff);
      await window.connect();
      await window.registers.write32(4, 5);
      expect(await window.registers.read32(4)).toBe(5);
      const registers = fixture.fn.registers(0);
      expect(await registers.read32(counterRegister.STORAGE + 4)).toBe(5);
      await expect(window.registers.read32(32)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
      const late = window.registers.write32(8, 1);
      await window.detach();
      await late;
      await window.registers.write32(4, 6);
      expect(await window.registers.read32(4)).toBe(ones);
      expect(await registers.read32(counterRegister.STORAGE + 4)).toBe(5);
      expect(await window.zap(10)).toBe('gone');
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    });

    it('refuses ranges that are no window', async () => {
      const page = fixture.memory.pageBytes;
      const refused = (spec: BackingSpec): Promise<void> =>
        expect(fixture.fn.openWindow(spec, { uid: 0 })).rejects.toMatchObject({
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
  });
}
