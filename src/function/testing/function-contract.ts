// What every PciFunction does, whatever is underneath. Runs over a CounterDevice.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Fd } from '../../os/fd.js';
import type { FunctionEvent } from '../types.js';
import { counterDma, counterId, counterRegister } from './counter-device.js';
import { type CounterFixture, eventually, pause } from './counter-fixture.js';

const register = counterRegister;

/** Declares the suite; `make` is called once and its result disposed. */
export function pciFunctionContract(name: string, make: () => Promise<CounterFixture>): void {
  describe(`function ${name}`, () => {
    let fixture: CounterFixture;

    beforeAll(async () => {
      fixture = await make();
    });

    afterAll(() => fixture[Symbol.asyncDispose]());

    const isClosed = (fd: Fd): boolean => !fd.isOpen;

    it('says what the device is', () => {
      const { info } = fixture.fn;
      expect(info).toMatchObject({ vendorId: 0x1b36, classCode: 0x120000, vectorCount: 4 });
      expect(info.regions.map((region) => [region.index, region.mappable])).toEqual([
        [0, false],
        [2, true],
        [4, false],
      ]);
      expect(info.reserved).toEqual([
        { region: 4, offsetBytes: 0, lengthBytes: 64 },
        { region: 4, offsetBytes: 0x800, lengthBytes: 8 },
      ]);
      expect(info.epoch).toBeGreaterThanOrEqual(1);
    });

    it('makes exactly one access of each width', async () => {
      const registers = fixture.fn.registers(0);
      const at = register.STORAGE;
      expect(await registers.read32(register.ID)).toBe(counterId);
      await registers.write64(at, 0x8877_6655_4433_2211n);
      expect(await registers.read64(at)).toBe(0x8877_6655_4433_2211n);
      expect(await registers.read32(at + 4)).toBe(0x8877_6655);
      expect(await registers.read16(at + 6)).toBe(0x8877);
      expect(await registers.read8(at + 7)).toBe(0x88);
      await registers.write8(at, 0xff);
      await registers.write16(at + 2, 0xfedc);
      await registers.write32(at + 4, 0xffff_ffff);
      expect(await registers.read64(at)).toBe(0xffff_ffff_fedc_22ffn);
    });

    it('refuses accesses outside the region, unaligned, or too large', async () => {
      const registers = fixture.fn.registers(0);
      const code = { code: 'INVALID_ARGUMENT' };
      await expect(registers.read32(4096)).rejects.toMatchObject(code);
      await expect(registers.read32(-4)).rejects.toMatchObject(code);
      await expect(registers.read32(2)).rejects.toMatchObject(code);
      await expect(registers.read64(4092)).rejects.toMatchObject(code);
      await expect(registers.write8(0, 256)).rejects.toMatchObject(code);
      await expect(registers.write32(0, -1)).rejects.toMatchObject(code);
      await expect(registers.write64(0, 1n << 64n)).rejects.toMatchObject(code);
      expect(() => fixture.fn.registers(1)).toThrowError(expect.objectContaining(code));
    });

    it('answers hundreds of accesses at once, in order', async () => {
      const registers = fixture.fn.registers(0);
      const at = register.STORAGE;
      const answers: Promise<number>[] = [];
      for (let value = 0; value < 300; value += 1) {
        void registers.write32(at, value);
        answers.push(registers.read32(at));
      }
      expect(await Promise.all(answers)).toEqual(Array.from({ length: 300 }, (_, index) => index));
    });

    it('waits for what the device answers later, and serves others meanwhile', async () => {
      const registers = fixture.fn.registers(0);
      await registers.write32(register.LATER, 40);
      const later = registers.read32(register.LATER);
      expect(await registers.read32(register.ID)).toBe(counterId);
      expect(await later).toBe(40);
    });

    it('fires the eventfd bound to a vector, and no other', async () => {
      const { fn, events } = fixture;
      const [one, two] = [events.createEventFd(), events.createEventFd()];
      using oneSeen = one.duplicate();
      using twoSeen = two.duplicate();
      await fn.setInterrupt(1, one);
      await fn.setInterrupt(2, two);
      await fn.registers(0).write32(register.INTERRUPT, 1);
      await eventually(fixture.clock, 'the interrupt', () => events.drain(oneSeen) === 1n);
      await fn.setInterrupt(1, undefined);
      expect(isClosed(one)).toBe(true);
      await fn.registers(0).write32(register.INTERRUPT, 1);
      await fn.registers(0).write32(register.INTERRUPT, 3);
      await fn.registers(0).write32(register.INTERRUPT, 99);
      await pause(fixture.clock, 2);
      expect(events.drain(oneSeen)).toBe(0n);
      expect(events.drain(twoSeen)).toBe(0n);
      const three = events.createEventFd();
      await fn.setInterrupt(2, three);
      expect(isClosed(two)).toBe(true);
      expect(isClosed(three)).toBe(false);
    });

    it('owns the interrupt target in every outcome', async () => {
      const { fn, events, memory } = fixture;
      const outside = events.createEventFd();
      await expect(fn.setInterrupt(4, outside)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(isClosed(outside)).toBe(true);
      const wrong = memory.create('lessor-test', 4096);
      await expect(fn.setInterrupt(0, wrong)).rejects.toMatchObject({ code: 'FD_REFUSED' });
      expect(isClosed(wrong)).toBe(true);
      await fn.setInterrupt(0, undefined);
    });

    it('reports DMA that nothing is mapped for', async () => {
      const { fn } = fixture;
      const events: FunctionEvent[] = [];
      using _listener = fn.onEvent((event) => events.push(event));
      const registers = fn.registers(0);
      await registers.write32(register.DMA_IOVA_LOW, 0x1234_5000);
      await registers.write32(register.DMA_IOVA_HIGH, 0x7f);
      await registers.write32(register.DMA_LENGTH, 16);
      await registers.write32(register.DMA_PASID, 7);
      await registers.write32(register.DMA_COMMAND, counterDma.write);
      expect(await registers.read32(register.DMA_COMMAND)).not.toBe(0);
      await eventually(fixture.clock, 'the fault', () => events.length > 0);
      expect(events[0]).toEqual({
        type: 'fault',
        fault: { pasid: 7, iova: 0x7f_1234_5000, access: 'write', reason: 'not attached' },
      });
    });

    it('counts an epoch for every reset', async () => {
      const { fn } = fixture;
      const { epoch } = fn.info;
      const resets = await fn.registers(0).read32(register.RESETS);
      await fn.reset(AbortSignal.timeout(2000));
      expect(fn.info.epoch).toBe(epoch + 1);
      expect(await fn.registers(0).read32(register.RESETS)).toBe(resets + 1);
    });
  });
}
