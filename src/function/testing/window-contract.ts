// What every Window does, whatever is underneath. Runs over a CounterDevice.
import { describe, expect, it } from 'vitest';
import type { BackingSpec } from '../types.js';
import { counterRegister, counterStatusWord, counterWord } from './counter-device.js';
import {
  type CounterFixture,
  countOf,
  eventually,
  type FunctionTraits,
  frameOffset,
  frameRegion,
  kick,
  openFrame,
  openStatus,
  pause,
} from './counter-fixture.js';
import { mediatedWindowContract } from './mediated-window-contract.js';
import { memoryWindowTests } from './memory-window-contract.js';
import { registerWindowTests } from './register-window-contract.js';
import { WindowSuite } from './window-suite.js';

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
    const suite = new WindowSuite(traits, make);

    it('reads ones and drops writes by message before it is connected', async () => {
      const window = await suite.open(0);
      expect(window.revocation).toBe('kernel');
      expect(window.lengthBytes).toBe(suite.fixture.memory.pageBytes);
      expect(await window.registers.read32(0)).toBe(ones);
      expect(await window.registers.read8(1)).toBe(0xff);
      expect(await window.registers.read64(8)).toBe(0xffff_ffff_ffff_ffffn);
      const place = frameOffset(suite.fixture, 0) + 4 * target;
      const registers = suite.fixture.fn.registers(frameRegion);
      const before = traits.mapsRegisters ? await registers.read32(place) : 0;
      await window.registers.write32(4 * target, before + 3);
      await window.connect();
      expect(await window.registers.read32(4 * target)).toBe(before);
    });

    it('joins the client and the device, by mapping and by message', async () => {
      const window = await suite.open(1);
      using client = suite.mapAsClient(window);
      await window.connect();
      await window.connect();
      Atomics.store(client.u32, target, 5);
      kick(suite.fixture);
      await suite.reaches(1, 5);
      expect(await window.registers.read32(4 * target)).toBe(5);
      await window.registers.write32(4 * target, 8);
      kick(suite.fixture);
      await suite.reaches(1, 8);
      expect(client.u32[target]).toBe(8);
      await window.registers.write64(64, 0x1122_3344_5566_7788n);
      expect(client.u32[16]).toBe(0x5566_7788);
      expect(await window.registers.read16(66)).toBe(0x5566);
    });

    it('is seen by a device that slept when it was connected', async () => {
      for (let round = 0; round < 5; round += 1) {
        const status = await openStatus(suite.fixture, 2);
        const window = await suite.open(2);
        await pause(suite.fixture.clock, 3);
        await status.connect();
        await window.connect();
        // Above what it counted for the window before.
        await window.registers.write32(4 * target, 3 + round);
        // As a client does: a kick only when the device asks for it.
        const need = await status.registers.read32(4 * counterStatusWord.NEED_WAKEUP);
        if (need !== 0) kick(suite.fixture);
        const count = (): Promise<number> => status.registers.read32(4 * counterStatusWord.COUNT);
        const isThere = async (): Promise<boolean> => (await count()) === 3 + round;
        await eventually(suite.fixture.clock, 'the count', isThere);
        await window[Symbol.asyncDispose]();
        await status[Symbol.asyncDispose]();
      }
    });

    it('is cut off by detach, also for what the client still maps', async () => {
      const window = await suite.open(1);
      using client = suite.mapAsClient(window);
      await window.connect();
      client.u32[target] = 5;
      kick(suite.fixture);
      await suite.reaches(1, 5);
      await window.detach();
      await window.detach();
      const before = await countOf(suite.fixture, 1);
      client.u32[target] = 50;
      kick(suite.fixture);
      await pause(suite.fixture.clock, 5);
      expect(await countOf(suite.fixture, 1)).toBeLessThanOrEqual(before);
      expect(await window.registers.read32(4 * target)).toBe(ones);
      expect(client.u32[target]).toBe(50);
      await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    });

    it('is zapped from every mapping', async () => {
      const window = await suite.open(2);
      using client = suite.mapAsClient(window);
      await window.connect();
      client.u32[target] = 1;
      expect(await window.zap(1000)).toBe('gone');
      expect(client.u32[target]).toBe(ones);
      expect(client.revoked).toBe(true);
      expect(await window.zap(1000)).toBe('gone');
    });

    it('shows a read-only window that nobody can write', async () => {
      const window = await openStatus(suite.fixture, 0);
      suite.keep(window);
      const writable = await suite.open(0);
      expect(() => suite.mapAsClient(window)).toThrow(/EACCES|EPERM/);
      using client = suite.mapAsClient(window, false);
      await window.connect();
      await writable.connect();
      await writable.registers.write32(4 * target, 7);
      kick(suite.fixture);
      await eventually(suite.fixture.clock, 'status shows 7', () => client.u32[0] === 7);
      expect(await window.registers.read32(0)).toBe(7);
      await expect(window.registers.write32(0, 1)).rejects.toMatchObject({
        code: 'WINDOW_READ_ONLY',
      });
      expect(await window.zap(1000)).toBe('gone');
      expect(client.u32[0]).toBe(ones);
    });

    it('keeps a frame to one window at a time', async () => {
      const window = await suite.open(3);
      const again = openFrame(suite.fixture, 3);
      await expect(again).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await window.connect();
      await window[Symbol.asyncDispose]();
      await window[Symbol.asyncDispose]();
      expect(await window.registers.read32(0)).toBe(ones);
      const next = await suite.open(3);
      await next.connect();
      await next.registers.write32(4 * target, 2);
      kick(suite.fixture);
      await suite.reaches(3, 2);
    });

    it('shows several frames one after the other', async () => {
      const page = suite.fixture.memory.pageBytes;
      const ranges = [2, 0].map((index) => ({
        offsetBytes: frameOffset(suite.fixture, index),
        lengthBytes: page,
      }));
      const spec: BackingSpec = { region: frameRegion, ranges, access: 'read-write' };
      const window = await suite.fixture.fn.openWindow(spec, { uid: process.getuid!() });
      suite.keep(window);
      expect(window.lengthBytes).toBe(2 * page);
      await window.connect();
      await window.registers.write32(0, 2);
      await window.registers.write32(page, 3);
      kick(suite.fixture);
      await suite.reaches(2, 2);
      await suite.reaches(0, 3);
      await expect(window.registers.read32(2 * page)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    });

    it('reaches registers without frames by message alone', async () => {
      const ranges = [{ offsetBytes: counterRegister.STORAGE, lengthBytes: 32 }];
      const uid = process.getuid!();
      const window = await suite.fixture.fn.openWindow(
        { region: 0, ranges, access: 'read-write' },
        { uid },
      );
      suite.keep(window);
      expect(window.fd).toBeUndefined();
      expect(window.revocation).toBe('mediated');
      await window.registers.write32(4, 5);
      expect(await window.registers.read16(4)).toBe(0xffff);
      await window.connect();
      await window.registers.write32(4, 5);
      expect(await window.registers.read32(4)).toBe(5);
      const registers = suite.fixture.fn.registers(0);
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

    if (traits.mapsRegisters) registerWindowTests(suite);
    else memoryWindowTests(suite);
  });
}
