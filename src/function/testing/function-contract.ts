// What every PciFunction does, whatever is underneath. Runs over a CounterDevice.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MiB, toIova } from '../../base/units.js';
import { type DmaAccount, type FaultReason, faultReasons } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import type { FunctionEvent } from '../types.js';
import { counterDma, counterId, counterRegister } from './counter-device.js';
import { type CounterFixture, eventually, type FunctionTraits, pause } from './counter-fixture.js';

const register = counterRegister;
/** A bus takes a second or two, more where it is emulated. */
const resetMs = 30_000;

/** Declares the suite; `make` is called once and its result disposed. */
export function pciFunctionContract(
  name: string,
  traits: FunctionTraits,
  make: () => Promise<CounterFixture>,
): void {
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
      const { mapsRegisters: mapsAllRegions = false } = traits;
      expect(info.regions.map((region) => [region.index, region.mappable])).toEqual([
        [0, mapsAllRegions],
        [2, traits.mapsWindows],
        [4, mapsAllRegions],
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

    /** One DMA of the device. @returns The reason it was refused for, or undefined. */
    const dma = async (
      command: keyof typeof counterDma,
      pasid: number | undefined,
      iova: number,
      lengthBytes: number,
    ): Promise<FaultReason | undefined> => {
      const registers = fixture.fn.registers(0);
      await registers.write32(register.DMA_IOVA_LOW, iova % 2 ** 32);
      await registers.write32(register.DMA_IOVA_HIGH, Math.floor(iova / 2 ** 32));
      await registers.write32(register.DMA_LENGTH, lengthBytes);
      await registers.write32(register.DMA_PASID, pasid ?? 0xffff_ffff);
      await registers.write32(register.DMA_COMMAND, counterDma[command]);
      const outcome = await registers.read32(register.DMA_COMMAND);
      return outcome === 0 ? undefined : faultReasons[outcome - 1];
    };

    const account = (): DmaAccount => ({
      placedBytesMax: 64 * MiB,
      tablePagesMax: 100,
      placedBytes: 0,
      tablePages: 0,
    });

    /** A sealed client memory and its words. */
    const clientMemory = (lengthBytes: number): { fd: Fd; u8: Uint8Array } & Disposable => {
      const fd = fixture.memory.create('lessor-test-client', lengthBytes);
      const spec = { offsetBytes: 0, lengthBytes, writable: true, guard: 'zeros' } as const;
      const mapping = fixture.memory.map(fd, spec);
      const u8 = new Uint8Array(mapping.buffer);
      return {
        fd,
        u8,
        [Symbol.dispose]() {
          mapping[Symbol.dispose]();
          fd.close();
        },
      };
    };

    it('refuses DMA that nothing is mapped for, and reports what it sees of it', async () => {
      const events: FunctionEvent[] = [];
      using _listener = fixture.fn.onEvent((event) => events.push(event));
      if (!traits.seesFaults) {
        expect(await dma('write', undefined, 0x7f_1234_5000, 16)).toBe('not mapped');
        expect(await dma('write', 7, 0x7f_1234_5000, 16)).toBeDefined();
        await pause(fixture.clock, 20);
        expect(events).toEqual([]);
        return;
      }
      expect(await dma('write', 7, 0x7f_1234_5000, 16)).toBe('not attached');
      await eventually(fixture.clock, 'the fault', () => events.length > 0);
      expect(events[0]).toEqual({
        type: 'fault',
        fault: { pasid: 7, iova: 0x7f_1234_5000, access: 'write', reason: 'not attached' },
      });
    });

    const requesters = [['the plain requester id', undefined] as const, ['a pasid', 5] as const];

    it.each(traits.pasids ? requesters : requesters.slice(0, 1))(
      'reaches what is mapped under %s, and nothing else',
      async (_what, pasid) => {
        using client = clientMemory(3 * 4096);
        const space = await fixture.fn.dma.open({ pasid });
        expect(space.pasid).toBe(pasid);
        const memory = { fd: client.fd, offsetBytes: 4096 };
        const iova = toIova(0x10_0000);
        const mapping = await space.map(memory, iova, 8192, 'read-write', account());
        client.u8.fill(1);
        expect(await dma('read', pasid, iova + 4000, 200)).toBeUndefined();
        const registers = fixture.fn.registers(0);
        expect(await registers.read32(register.DMA_BYTE)).toBe(200);
        await registers.write32(register.DMA_BYTE, 7);
        expect(await dma('write', pasid, iova + 4090, 12)).toBeUndefined();
        expect([...client.u8.subarray(8185, 8199)]).toEqual([1, ...Array(12).fill(7), 1]);
        const before = client.u8.slice();
        expect(await dma('write', pasid, iova + 8000, 193)).toBe('not mapped');
        if (traits.pasids) expect(await dma('write', 9, iova, 16)).toBe('not attached');
        else expect(await dma('write', 9, iova, 16)).toBeDefined();
        expect(client.u8).toEqual(before);
        await space.unmap(mapping);
        expect(await dma('write', pasid, iova, 16)).toBe('not mapped');
        expect(client.u8).toEqual(before);
        const again = await space.map(memory, iova, 4096, 'read', account());
        expect(await dma('write', pasid, iova, 16)).toBe('no permission');
        expect(again.lengthBytes).toBe(4096);
        await space[Symbol.asyncDispose]();
        expect(await dma('read', pasid, iova, 16)).toBeDefined();
      },
    );

    it('refuses PASID 0, one that is too wide, and one in use', async () => {
      const { fn } = fixture;
      if (!traits.pasids) {
        expect(fn.info.pasidBits).toBe(0);
        await expect(fn.dma.open({ pasid: 5 })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        return;
      }
      const code = { code: 'INVALID_ARGUMENT' };
      await expect(fn.dma.open({ pasid: 0 })).rejects.toMatchObject(code);
      await expect(fn.dma.open({ pasid: 256 })).rejects.toMatchObject(code);
      const space = await fn.dma.open({ pasid: 255 });
      await expect(fn.dma.open({ pasid: 255 })).rejects.toMatchObject(code);
      await space[Symbol.asyncDispose]();
      await (await fn.dma.open({ pasid: 255 }))[Symbol.asyncDispose]();
    });

    it('keeps what shares an address space apart', async () => {
      using client = clientMemory(8192);
      const memory = { fd: client.fd, offsetBytes: 0 };
      const one = await fixture.fn.dma.open({ pasid: undefined });
      const other = await fixture.fn.dma.open({ pasid: undefined });
      const iova = toIova(0x50_0000);
      const mapping = await one.map(memory, iova, 4096, 'read-write', account());
      const refused = async (code: string, ...map: Parameters<typeof one.map>): Promise<void> => {
        await expect(other.map(...map)).rejects.toMatchObject({ code });
      };
      await refused('IOVA_OVERLAP', memory, iova, 8192, 'read', account());
      await refused('IOVA_UNALIGNED', memory, toIova(iova + 8), 4096, 'read', account());
      await refused('MEMORY_TOO_SMALL', memory, toIova(2 * iova), 12_288, 'read', account());
      const outside = toIova(fixture.fn.info.aperture.end - 4096);
      await refused('IOVA_OUTSIDE_WINDOW', memory, outside, 8192, 'read', account());
      await expect(other.unmap(mapping)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
      const next = await other.map(memory, toIova(iova + 4096), 4096, 'write', account());
      expect(await dma('write', undefined, iova + 4096, 16)).toBeUndefined();
      await other[Symbol.asyncDispose]();
      await expect(other.unmap(next)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
      await refused('LEASE_ENDED', memory, toIova(2 * iova), 4096, 'read', account());
      expect(await dma('write', undefined, iova + 4096, 16)).toBe('not mapped');
      expect(await dma('write', undefined, iova, 16)).toBeUndefined();
      await one[Symbol.asyncDispose]();
      await one[Symbol.asyncDispose]();
      expect(await dma('write', undefined, iova, 16)).toBe('not mapped');
    });

    it('tells whose memory was truncated, where it can see that', async () => {
      using client = clientMemory(2 * MiB);
      using other = clientMemory(4096);
      const pasids = traits.pasids ? ([5, 6] as const) : ([undefined, undefined] as const);
      const [space, bystander] = [
        await fixture.fn.dma.open({ pasid: pasids[0] }),
        await fixture.fn.dma.open({ pasid: pasids[1] }),
      ];
      const iova = toIova(0x20_0000);
      const otherIova = traits.pasids ? iova : toIova(0x60_0000);
      const mapped = { fd: client.fd, offsetBytes: 0 };
      const mapping = await space.map(mapped, iova, 2 * MiB, 'read-write', account());
      const kept = { fd: other.fd, offsetBytes: 0 };
      await bystander.map(kept, otherIova, 4096, 'read-write', account());
      const gone: unknown[] = [];
      using _one = space.onMemoryGone((which) => gone.push(which));
      using _two = bystander.onMemoryGone((which) => gone.push(which));
      fixture.memory.truncate(client.fd, 0);
      const outcome = traits.pinsMemory ? undefined : 'memory gone';
      expect(await dma('write', pasids[0], iova + 8192, 16)).toBe(outcome);
      if (traits.seesFaults) {
        await eventually(fixture.clock, 'the truncation', () => gone.length > 0);
      }
      expect(await dma('write', pasids[1], otherIova, 16)).toBeUndefined();
      expect(gone).toEqual(traits.seesFaults ? [mapping] : []);
      await space[Symbol.asyncDispose]();
      await bystander[Symbol.asyncDispose]();
    });

    it('counts an epoch for every reset', async () => {
      const { fn } = fixture;
      const { epoch } = fn.info;
      const resets = await fn.registers(0).read32(register.RESETS);
      await fn.reset(AbortSignal.timeout(resetMs));
      expect(fn.info.epoch).toBe(epoch + 1);
      expect(await fn.registers(0).read32(register.RESETS)).toBe(resets + 1);
    });
  });
}
