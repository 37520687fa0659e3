// What a Window does that has no memory: the promises of a mapped one, by message. What is behind
// it is the device's own and outlasts the window; bringing it to rest is the driver's work.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BackingSpec, Window } from '../types.js';
import { counterRegister, counterStatusWord, counterWord } from './counter-device.js';
import {
  type CounterFixture,
  countOf,
  eventually,
  frameOffset,
  frameRegion,
  openFrame,
  openStatus,
} from './counter-fixture.js';

const target = 4 * counterWord.TARGET;
const ones = 0xffff_ffff;

/** Declares the suite; `make` is called once and its result disposed. */
export function mediatedWindowContract(name: string, make: () => Promise<CounterFixture>): void {
  describe(`mediated window of ${name}`, () => {
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

    const storage = (offsetBytes: number, lengthBytes: number): BackingSpec => ({
      region: 0,
      ranges: [{ offsetBytes: counterRegister.STORAGE + offsetBytes, lengthBytes }],
      access: 'read-write',
    });

    const openStorage = async (offsetBytes: number, lengthBytes: number): Promise<Window> => {
      const spec = storage(offsetBytes, lengthBytes);
      const window = await fixture.fn.openWindow(spec, { uid: process.getuid!() });
      opened.push(window);
      return window;
    };

    const reaches = (index: number, count: number): Promise<void> =>
      eventually(
        fixture.clock,
        `counter ${index} at ${count}`,
        async () => (await countOf(fixture, index)) === count,
      );

    it('has no memory, and is closed to messages before it is connected', async () => {
      const window = await open(0);
      expect(window.fd).toBeUndefined();
      expect(window.revocation).toBe('mediated');
      expect(window.lengthBytes).toBe(fixture.memory.pageBytes);
      expect(await window.registers.read32(0)).toBe(ones);
      expect(await window.registers.read8(1)).toBe(0xff);
      expect(await window.registers.read64(8)).toBe(0xffff_ffff_ffff_ffffn);
      await window.registers.write32(target, 3);
      await window.connect();
      await window.connect();
      expect(await window.registers.read32(target)).toBe(0);
    });

    it('joins the client and the device', async () => {
      const window = await open(1);
      await window.connect();
      await window.registers.write32(target, 5);
      fixture.wake?.();
      await reaches(1, 5);
      expect(await window.registers.read32(target)).toBe(5);
      await window.registers.write64(64, 0x1122_3344_5566_7788n);
      expect(await window.registers.read16(66)).toBe(0x5566);
      expect(await window.registers.read32(68)).toBe(0x1122_3344);
    });

    it('wakes a device that sleeps', async () => {
      const [status, window] = [await openStatus(fixture, 2), await open(2)];
      opened.push(status);
      await status.connect();
      await window.connect();
      const word = (name: keyof typeof counterStatusWord): Promise<number> =>
        status.registers.read32(4 * counterStatusWord[name]);
      for (let round = 1; round <= 5; round += 1) {
        const isAsleep = async (): Promise<boolean> => (await word('NEED_WAKEUP')) !== 0;
        await eventually(fixture.clock, 'its sleep', isAsleep);
        await window.registers.write32(target, 3 + round);
        fixture.wake?.();
        const isThere = async (): Promise<boolean> => (await word('COUNT')) === 3 + round;
        await eventually(fixture.clock, 'the count', isThere);
      }
    });

    it('is cut off by detach: nothing under way arrives later', async () => {
      const window = await openStorage(0, 32);
      const registers = fixture.fn.registers(0);
      const held = counterRegister.STORAGE;
      await registers.write64(held, 0n);
      await window.connect();
      await window.registers.write32(0, 5);
      const under = Array.from({ length: 50 }, (_, value) => window.registers.write32(4, value));
      const reading = window.registers.read32(0);
      await window.detach();
      const atCut = await registers.read32(held + 4);
      const settled = await Promise.allSettled(under);
      expect(settled.every(({ status }) => status === 'fulfilled')).toBe(true);
      expect(atCut).toBe(49);
      expect(await reading).toBe(5);
      await window.detach();
      await window.registers.write32(0, 6);
      await window.registers.write64(0, 7n);
      expect(await window.registers.read32(0)).toBe(ones);
      expect(await registers.read64(held)).toBe((49n << 32n) | 5n);
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
      expect(await window.zap(10)).toBe('gone');
    });

    it('keeps to its range, also where several are shown one after the other', async () => {
      const ranges = [8, 40].map((at) => ({
        offsetBytes: counterRegister.STORAGE + at,
        lengthBytes: 8,
      }));
      const spec: BackingSpec = { region: 0, ranges, access: 'read-write' };
      const window = await fixture.fn.openWindow(spec, { uid: process.getuid!() });
      opened.push(window);
      const registers = fixture.fn.registers(0);
      for (const at of [0, 8, 16, 32, 40, 48]) {
        await registers.write64(counterRegister.STORAGE + at, BigInt(at));
      }
      await window.connect();
      expect(window.lengthBytes).toBe(16);
      expect(await window.registers.read64(0)).toBe(8n);
      expect(await window.registers.read64(8)).toBe(40n);
      await window.registers.write64(8, 41n);
      const outside = { code: 'INVALID_ARGUMENT' };
      await expect(window.registers.read32(16)).rejects.toMatchObject(outside);
      await expect(window.registers.write8(16, 1)).rejects.toMatchObject(outside);
      await expect(window.registers.read32(6)).rejects.toMatchObject(outside);
      expect(await registers.read64(counterRegister.STORAGE + 40)).toBe(41n);
      expect(await registers.read64(counterRegister.STORAGE + 48)).toBe(48n);
    });

    it('takes no write where it is read-only', async () => {
      const window = await openStatus(fixture, 0);
      opened.push(window);
      await window.connect();
      const before = await countOf(fixture, 0);
      await expect(window.registers.write32(0, 77)).rejects.toMatchObject({
        code: 'WINDOW_READ_ONLY',
      });
      expect(await window.registers.read32(0)).toBe(before);
    });

    it('shares no byte with another one', async () => {
      const window = await open(3);
      const again = { code: 'INVALID_ARGUMENT' };
      await expect(openFrame(fixture, 3)).rejects.toMatchObject(again);
      await openStorage(16, 16);
      for (const [at, length] of [
        [8, 16],
        [16, 8],
        [24, 8],
        [0, 64],
      ] as const) {
        await expect(openStorage(at, length)).rejects.toMatchObject(again);
      }
      await openStorage(8, 8);
      await openStorage(32, 8);
      await window.connect();
      await window.registers.write32(target, 6);
      fixture.wake?.();
      await reaches(3, 6);
      await window[Symbol.asyncDispose]();
      await window[Symbol.asyncDispose]();
      expect(await window.registers.read32(0)).toBe(ones);
      const next = await open(3);
      await next.connect();
      // The device's own registers: not the window's to clear.
      expect(await next.registers.read32(target)).toBe(6);
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
      await refused(one(1, 0, page));
      await refused(one(frameRegion, 0, 0));
      await refused(one(frameRegion, 4, 8));
      await refused(one(frameRegion, 0, 12));
      await refused(one(frameRegion, -page, page));
      await refused(one(frameRegion, 0, 2 ** 40));
      await refused(one(4, 0, 64));
      await refused(one(4, 0x800, 8));
      const twice = [0, 0].map((index) => ({
        offsetBytes: frameOffset(fixture, index),
        lengthBytes: page,
      }));
      await refused({ region: frameRegion, ranges: twice, access: 'read-write' });
    });
  });
}
