// The edu driver on its device, in this thread; and on devices that lie, hang or die.
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { EduDevice, type EduOptions } from '../../device/edu/device.js';
import { edu, eduCommand, eduRegister } from '../../device/edu/registers.js';
import type { Value, Width } from '../../device/types.js';
import type { FunctionInfo } from '../../function/types.js';
import { driverContract, termsFor } from '../testing/driver-contract.js';
import { TestFunction } from '../testing/test-function.js';
import { TestHost } from '../testing/test-host.js';
import type { RunningDriver, Slice } from '../types.js';
import { validateSlices } from '../validate.js';
import { eduDriver } from './driver.js';

interface Setup {
  readonly fn: TestFunction;
  readonly driver: RunningDriver;
  readonly slice: Slice;
}

const never = new AbortController().signal;
const ones = (width: Width): Value => (width === 8 ? 2n ** 64n - 1n : 2 ** (8 * width) - 1);
const failed = { code: 'DRIVER_FAILED' };
const started: TestFunction[] = [];

/** An EDU with a fault that can be turned on. */
class Faulty extends EduDevice {
  /** What reads give instead; undefined: what the device says. */
  lie: ((offsetBytes: number) => number | undefined) | undefined;
  isDead = false;

  override read(region: number, offsetBytes: number, width: Width): Value {
    if (this.isDead) return ones(width);
    return this.lie?.(offsetBytes) ?? super.read(region, offsetBytes, width);
  }

  override write(region: number, offsetBytes: number, width: Width, value: Value): void {
    if (!this.isDead) super.write(region, offsetBytes, width, value);
  }
}

async function start(device: EduDevice, options: unknown = {}): Promise<Setup> {
  const fn = new TestFunction(device);
  started.push(fn);
  const driver = await eduDriver.start(fn, new TestHost(fn), eduDriver.options.parse(options));
  return { fn, driver, slice: driver.slices[0]! };
}

const setUp = (options: EduOptions = {}): Promise<Setup> => start(new EduDevice(options));

function read({ fn }: Setup, name: keyof typeof eduRegister): number {
  return Number(fn.device.read(0, eduRegister[name], 4));
}

function write({ fn }: Setup, name: keyof typeof eduRegister, value: Value): Promise<void> {
  const wide = typeof value === 'bigint';
  const registers = fn.registers(0);
  if (wide) return registers.write64(eduRegister[name], value);
  return registers.write32(eduRegister[name], value);
}

function pass({ fn }: Setup, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    fn.clock.after(delayMs, resolve);
  });
}

/** As a holder would. */
async function transfer(setup: Setup, source: number, destination: number, command: bigint) {
  await write(setup, 'DMA_SOURCE', source);
  await write(setup, 'DMA_DESTINATION', destination);
  await write(setup, 'DMA_COUNT', edu.bufferBytes);
  await write(setup, 'DMA_COMMAND', Number(eduCommand.START | command));
}

afterEach(() => {
  // However it went, nothing of the driver's own stays within the device's reach.
  for (const { liveMappings, liveScratch } of started.splice(0)) {
    expect([liveMappings, liveScratch]).toEqual([0, 0]);
  }
});

driverContract('edu, with a transfer under way', async () => {
  const setup = await setUp();
  return {
    ...setup,
    async keepBusy() {
      await transfer(setup, 0x10_0000, edu.bufferAt, 0n);
      return { end: () => pass(setup, edu.dmaDelayMsDefault) };
    },
    [Symbol.asyncDispose]: () => setup.driver.stop(),
  };
});

driverContract('edu, with a factorial that takes its time', async () => {
  const device = new Faulty();
  const setup = await start(device);
  return {
    ...setup,
    async keepBusy() {
      device.lie = (offset) => (offset === eduRegister.STATUS ? 0x01 : undefined);
      return {
        async end() {
          device.lie = undefined;
        },
      };
    },
    [Symbol.asyncDispose]: () => setup.driver.stop(),
  };
});

describe('what is offered', () => {
  it('is one slice, exclusive, with the page of registers and the one vector', async () => {
    const { driver, slice } = await setUp();
    expect(driver.isolation).toBe('exclusive');
    expect(driver.slices).toHaveLength(1);
    expect(slice).toMatchObject({ name: 'edu', kind: 'edu', vectors: [0] });
    expect(slice.windows).toEqual([
      {
        name: 'registers',
        region: 0,
        offsetBytes: 0,
        lengthBytes: 4096,
        access: 'read-write',
        mappable: false,
      },
    ]);
    const last = Math.max(...Object.values(eduRegister));
    expect(last + 8).toBeLessThanOrEqual(slice.windows[0]!.lengthBytes);
  });

  it('can be mapped where the function maps its registers, and has no vector without MSI', async () => {
    const fn = new TestFunction(new EduDevice());
    const regions = [{ index: 0, lengthBytes: edu.registerBytes, mappable: true }];
    const info: FunctionInfo = { ...fn.info, regions, vectorCount: 0 };
    Object.assign(fn, { info });
    const driver = await eduDriver.start(fn, new TestHost(fn), eduDriver.options.parse({}));
    expect(driver.slices[0]).toMatchObject({ windows: [{ mappable: true }], vectors: [] });
    expect(() => validateSlices(info, driver.slices, driver.reserved)).not.toThrow();
  });

  it('is for EDU alone', () => {
    const { info } = new TestFunction(new EduDevice());
    expect(eduDriver.match(info)).toBe(true);
    expect(eduDriver.match({ ...info, deviceId: 1 })).toBe(false);
    expect(eduDriver.match({ ...info, vendorId: 1 })).toBe(false);
  });
});

describe('the reach of its DMA', () => {
  it('is 28 bits, the last page of which no lease gets', async () => {
    const { driver } = await setUp();
    expect(driver.aperture).toEqual({ start: 0, end: 2 ** 28 - 4096 });
  });

  it('is what the function has where that is less', async () => {
    const fn = new TestFunction(new EduDevice());
    const aperture = { start: 0x10_0000, end: 2 ** 24 };
    Object.assign(fn, { info: { ...fn.info, aperture, iovaPageBytes: 65_536 } });
    const driver = await eduDriver.start(fn, new TestHost(fn), eduDriver.options.parse({}));
    expect(driver.aperture).toEqual({ start: 0x10_0000, end: 2 ** 24 - 65_536 });
  });

  it('is tried at its end: a device with fewer bits is found out', async () => {
    const narrow = () => new EduDevice({ dmaBits: 24 });
    await expect(start(narrow())).rejects.toMatchObject({ ...failed, message: /dmaBits/ });
    const { driver } = await start(narrow(), { dmaBits: 24 });
    expect(driver.aperture?.end).toBe(2 ** 24 - 4096);
    await start(new EduDevice({ dmaBits: 40 }), { dmaBits: 32 });
  });

  it.each([
    null,
    1,
    [],
    { dmaBits: 19 },
    { dmaBits: 33 },
    { dmaBits: 24.5 },
    { dmaBits: '28' },
    {
      isolation: 'pasid',
    },
    { bits: 28 },
  ])('refuses options %j', (value) => {
    expect(() => eduDriver.options.parse(value)).toThrow(/edu options/);
  });

  it('takes the one isolation that there is', () => {
    expect(eduDriver.options.parse({ isolation: 'exclusive' })).toEqual({ dmaBits: 28 });
    expect(eduDriver.options.parse(undefined)).toEqual({ dmaBits: 28 });
  });
});

describe('grant', () => {
  it('leaves nothing of the holder before', async () => {
    const setup = await setUp();
    const { slice, fn } = setup;
    await slice.grant(termsFor(setup.driver, 1));
    const at = fn.bus.map(undefined, 0x10_0000, 8192);
    fn.bus.u8.fill(0x77, at, at + 4096);
    await write(setup, 'LIVENESS', 3);
    await write(setup, 'FACTORIAL', 10);
    await transfer(setup, 0x10_0000, edu.bufferAt, 0n);
    expect(await slice.quiesce(never)).toBe('idle');
    await slice.ungrant();
    expect([read(setup, 'DMA_SOURCE'), read(setup, 'DMA_DESTINATION')]).toEqual([0, 0]);

    await slice.grant(termsFor(setup.driver, 2));
    expect([read(setup, 'LIVENESS'), read(setup, 'FACTORIAL')]).toEqual([0, 1]);
    expect([read(setup, 'DMA_SOURCE'), read(setup, 'DMA_COUNT')]).toEqual([0, 0]);
    await transfer(setup, edu.bufferAt, 0x10_1000, eduCommand.TO_MEMORY);
    await pass(setup, 100);
    expect(fn.bus.u8.subarray(at + 4096, at + 8192).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a slice that works', async () => {
    const setup = await setUp();
    await write(setup, 'DMA_COMMAND', 1);
    await expect(setup.slice.grant(termsFor(setup.driver, 1))).rejects.toMatchObject(failed);
    await pass(setup, 100);
    await setup.slice.grant(termsFor(setup.driver, 1));
  });

  it.each<[string, (offset: number) => number | undefined]>([
    ['another device', (offset) => (offset === 0 ? 0x010000ee : undefined)],
    ['another major version', (offset) => (offset === 0 ? 0x020000ed : undefined)],
    ['registers that cannot be written', (offset) => (offset === 4 ? 0 : undefined)],
    ['an interrupt that stays', (offset) => (offset === 0x24 ? 1 : undefined)],
  ])('refuses %s', async (_, lie) => {
    const device = new Faulty();
    const { slice, driver } = await start(device);
    device.lie = lie;
    await expect(slice.grant(termsFor(driver, 1))).rejects.toMatchObject(failed);
    device.lie = undefined;
    await slice.grant(termsFor(driver, 1));
  });

  it('refuses a device whose DMA goes nowhere any more', async () => {
    const setup = await setUp();
    setup.fn.bus.write = () => undefined;
    await expect(setup.slice.grant(termsFor(setup.driver, 1))).rejects.toMatchObject({
      ...failed,
      message: /does not arrive/,
    });
  });

  it('refuses a device whose transfers do not end', async () => {
    const device = new Faulty();
    const { slice, driver } = await start(device);
    let commands = 0;
    device.lie = (offset) => (offset === eduRegister.DMA_COMMAND && commands++ > 0 ? 1 : undefined);
    await expect(slice.grant(termsFor(driver, 1))).rejects.toMatchObject({
      ...failed,
      message: /did not end/,
    });
  });
});

describe('quiesce', () => {
  it('waits for the transfer, which lands before it says idle', async () => {
    const setup = await setUp();
    const { slice, fn } = setup;
    await slice.grant(termsFor(setup.driver, 1));
    const at = fn.bus.map(undefined, 0x10_0000, 4096);
    fn.bus.u8.fill(9, at, at + 4096);
    await transfer(setup, edu.bufferAt, 0x10_0000, eduCommand.TO_MEMORY);
    const sooner = new AbortController();
    fn.clock.after(50, () => sooner.abort());
    expect(await slice.quiesce(sooner.signal)).toBe('busy');
    expect(fn.bus.u8[at]).toBe(9);
    expect(await slice.quiesce(never)).toBe('idle');
    expect(fn.bus.u8[at]).toBe(0);
  });

  it('leaves nothing to interrupt for', async () => {
    const setup = await setUp();
    const { slice } = setup;
    await slice.grant(termsFor(setup.driver, 1));
    await write(setup, 'STATUS', 0x80);
    await write(setup, 'INTERRUPT_RAISE', 0xffffffff);
    await transfer(setup, 0x10_0000, edu.bufferAt, eduCommand.INTERRUPT);
    expect(await slice.quiesce(never)).toBe('idle');
    expect([read(setup, 'STATUS'), read(setup, 'INTERRUPT_STATUS')]).toEqual([0, 0]);
  });

  it('believes no dead function, however often it is asked', async () => {
    const device = new Faulty();
    const { slice, driver, fn } = await start(device);
    await slice.grant(termsFor(driver, 1));
    device.isDead = true;
    const startMs = fn.clock.nowMs();
    expect(await slice.quiesce(never)).toBe('busy');
    expect(await slice.reset(never)).toBe('busy');
    expect(fn.clock.nowMs()).toBe(startMs);
    await expect(slice.ungrant()).rejects.toMatchObject(failed);
    device.isDead = false;
    await fn.reset();
    await driver.restart();
    await slice.grant(termsFor(driver, 2));
  });

  it('cannot be made to take the function for dead', async () => {
    const setup = await setUp();
    await setup.slice.grant(termsFor(setup.driver, 1));
    await write(setup, 'DMA_COMMAND', 0xffffffffffffffffn);
    expect(read(setup, 'DMA_COMMAND')).toBe(0xffffffff);
    expect(await setup.slice.quiesce(never)).toBe('idle');
  });
});

describe('start', () => {
  it('fails on a dead device, and on one that never rests', async () => {
    const dead = new Faulty();
    dead.isDead = true;
    await expect(start(dead)).rejects.toMatchObject(failed);
    const restless = new Faulty();
    restless.lie = (offset) => (offset === eduRegister.STATUS ? 1 : undefined);
    await expect(start(restless)).rejects.toMatchObject({ ...failed, message: /rest/ });
  });

  it('waits for what another broker left under way', async () => {
    const device = new EduDevice();
    const fn = new TestFunction(device);
    await fn.registers(0).write32(eduRegister.DMA_COMMAND, 1);
    const driver = await eduDriver.start(fn, new TestHost(fn), eduDriver.options.parse({}));
    await driver.slices[0]!.grant(termsFor(driver, 1));
  });
});

it('is idle after whatever a holder did, and shows the next one none of it', async () => {
  const names = Object.keys(eduRegister) as (keyof typeof eduRegister)[];
  const value = fc.oneof(
    fc.nat({ max: 0xffffffff }),
    fc.constantFrom(0, 1, 7, 0x80, 0x4_0000, 0x10_0000, 4096),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom(...names), value)), async (writes) => {
      const setup = await setUp();
      const { slice, fn, driver } = setup;
      await slice.grant(termsFor(driver, 1));
      const at = fn.bus.map(undefined, 0x10_0000, 8192);
      fn.bus.u8.fill(0x77, at, at + 8192);
      for (const [name, word] of writes) await write(setup, name, word);
      const startMs = fn.clock.nowMs();
      expect(await slice.quiesce(never)).toBe('idle');
      expect(fn.clock.nowMs() - startMs).toBeLessThanOrEqual(2 * edu.dmaDelayMsDefault);
      const interrupts = fn.bus.interrupts.length;
      await slice.ungrant();
      fn.bus.unmap(undefined, 0x10_0000, 8192);
      await slice.grant(termsFor(driver, 2));
      expect(fn.bus.interrupts).toHaveLength(interrupts);
      const seen = names.filter((name) => name !== 'DMA_COMMAND').map((name) => read(setup, name));
      const fresh = await setUp();
      await fresh.slice.grant(termsFor(fresh.driver, 1));
      const wanted = names.filter((name) => name !== 'DMA_COMMAND');
      expect(seen).toEqual(wanted.map((name) => read(fresh, name)));
    }),
    { numRuns: 40 },
  );
});

it('stops a granted slice from interrupting', async () => {
  const setup = await setUp();
  await setup.driver.stop();
  await setup.slice.grant(termsFor(setup.driver, 1));
  await write(setup, 'STATUS', 0x80);
  await setup.driver.stop();
  expect(read(setup, 'STATUS')).toBe(0);
});
