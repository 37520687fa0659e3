// The mqdma driver on its device, in this thread.
import { describe, expect, it } from 'vitest';
import {
  control,
  descriptorWord,
  isolationBit,
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePage,
  queuePageOffset,
  queueStatus,
} from '../../device/mqdma/datasheet.js';
import { MqdmaDevice, type MqdmaOptions } from '../../device/mqdma/device.js';
import type { Width } from '../../device/types.js';
import type { Underside } from '../../function/types.js';
import { driverContract, termsFor } from '../testing/driver-contract.js';
import { TestFunction } from '../testing/test-function.js';
import { TestHost } from '../testing/test-host.js';
import type { RunningDriver, Slice } from '../types.js';
import { mqdmaDriver } from './driver.js';
import type { MqdmaIsolation } from './options.js';

interface Setup {
  readonly device: MqdmaDevice;
  readonly fn: TestFunction;
  readonly host: TestHost;
  readonly driver: RunningDriver;
}

const never = new AbortController().signal;

async function setUp(isolation?: MqdmaIsolation, options: MqdmaOptions = {}): Promise<Setup> {
  const device = new MqdmaDevice({ queueCount: 3, faultInjection: true, ...options });
  return start(device, isolation);
}

async function start(
  device: MqdmaDevice,
  isolation?: MqdmaIsolation,
  underside: Underside = 'emulated',
): Promise<Setup> {
  const fn = new TestFunction(device);
  Object.assign(fn.info, { underside });
  const host = new TestHost(fn);
  const driver = await mqdmaDriver.start(fn, host, mqdmaDriver.options.parse({ isolation }));
  return { device, fn, host, driver };
}

function read(setup: Setup, queue: number, register: keyof typeof queueControl): number {
  const offset = queueControlOffset(queue) + queueControl[register];
  return Number(setup.device.read(mqdma.controlRegion, offset, 4));
}

async function turn(): Promise<void> {
  for (let index = 0; index < 20; index++) await new Promise(setImmediate);
}

/** Connects rings on a queue by registers and submits one fill; the device runs at once. */
async function submitFill(
  setup: Setup,
  queue: number,
  pasid: number | undefined,
  destination: number,
): Promise<void> {
  const { bus } = setup.fn;
  const ring = 0x30_0000 + (pasid === undefined ? queue * 2 ** 32 + 2 ** 32 : 0);
  const at = bus.map(pasid, ring, 4096) / 4;
  bus.u32[at + descriptorWord.OPCODE] = opcode.FILL;
  bus.u32[at + descriptorWord.LENGTH] = 64;
  bus.u32[at + descriptorWord.DESTINATION] = destination % 2 ** 32;
  bus.u32[at + descriptorWord.DESTINATION + 1] = Math.floor(destination / 2 ** 32);
  const page = setup.fn.registers(mqdma.queueRegion);
  const base = queuePageOffset(queue, 4096);
  const high = Math.floor(ring / 2 ** 32);
  await page.write32(base + queuePage.RING_ENTRIES, 2);
  await page.write32(base + queuePage.DESCRIPTORS_LOW, ring % 2 ** 32);
  await page.write32(base + queuePage.DESCRIPTORS_HIGH, high);
  await page.write32(base + queuePage.COMPLETIONS_LOW, (ring + 1024) % 2 ** 32);
  await page.write32(base + queuePage.COMPLETIONS_HIGH, high);
  await page.write32(base + queuePage.RING_CONTROL, 1);
  await page.write32(base + queuePage.TAIL, 1);
}

for (const isolation of ['pasid', 'device-bounds', 'cooperative'] as const) {
  driverContract(`mqdma, ${isolation}`, async () => {
    const { fn, driver } = await setUp(isolation);
    return {
      fn,
      driver,
      async keepBusy(slice: Slice) {
        await driver.inject!(slice, 'never-idle', 1);
        return { end: () => driver.inject!(slice, 'never-idle', 0) };
      },
      async [Symbol.asyncDispose]() {
        await driver.stop();
      },
    };
  });
}

describe('isolation', () => {
  it('is PASID where the function has them, else bounds', async () => {
    expect((await setUp()).driver.isolation).toBe('pasid');
    expect((await setUp(undefined, { pasidBits: 0 })).driver.isolation).toBe('device-bounds');
    await expect(setUp('pasid', { pasidBits: 0 })).rejects.toMatchObject({
      code: 'ISOLATION_UNAVAILABLE',
    });
  });

  it('programs a PASID before it enables, and takes it back', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[1]!;
    setup.fn.accesses.length = 0;
    await slice.grant(termsFor(setup.driver, 77));
    expect(read(setup, 1, 'PASID')).toBe(77);
    expect(read(setup, 1, 'ISOLATION')).toBe(isolationBit.PASID);
    const writes = setup.fn.accesses.filter(({ kind }) => kind === 'write');
    expect(writes.at(-1)?.offsetBytes).toBe(queueControlOffset(1) + queueControl.ENABLE);
    await slice.quiesce(never);
    await slice.ungrant();
    // PASID 0 is nobody's: were the queue enabled now, its DMA would be refused.
    expect(read(setup, 1, 'PASID')).toBe(0);
    expect(read(setup, 1, 'ISOLATION')).toBe(isolationBit.PASID);
    expect(read(setup, 1, 'STATUS')).toBe(queueStatus.IDLE);
  });

  it('programs bounds, exact above 2^32', async () => {
    const setup = await setUp('device-bounds');
    const bounds = { base: 0x1234_5678_9000, lengthBytes: 0x3_0000_1000 };
    await setup.driver.slices[0]!.grant({ leaseId: 'x', epoch: 1, pasid: undefined, bounds });
    expect(read(setup, 0, 'DMA_BASE_LOW')).toBe(0x5678_9000);
    expect(read(setup, 0, 'DMA_BASE_HIGH')).toBe(0x1234);
    expect(read(setup, 0, 'DMA_LENGTH_LOW')).toBe(0x1000);
    expect(read(setup, 0, 'DMA_LENGTH_HIGH')).toBe(3);
    expect(read(setup, 0, 'ISOLATION')).toBe(isolationBit.BOUNDS);
  });

  it('refuses a queue whose registers do not take it', async () => {
    class Stubborn extends MqdmaDevice {
      override write(region: number, offset: number, width: Width, value: number | bigint): void {
        if (offset !== queueControlOffset(0) + queueControl.PASID || value === 0) {
          super.write(region, offset, width, value);
        }
      }
    }
    const { driver } = await start(new Stubborn({ queueCount: 2 }));
    await expect(driver.slices[0]!.grant(termsFor(driver, 5))).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
    });
    await driver.slices[1]!.grant(termsFor(driver, 5));
  });
});

describe('the bounds self-test', () => {
  it('leaves nothing behind', async () => {
    const setup = await setUp('device-bounds');
    expect(setup.fn.liveScratch).toBe(0);
    expect(setup.fn.liveMappings).toBe(0);
    expect(read(setup, 0, 'STATUS')).toBe(queueStatus.IDLE);
    expect(read(setup, 0, 'DMA_LENGTH_LOW')).toBe(0);
    expect(setup.device.read(mqdma.controlRegion, control.FAULT_PENDING, 4)).toBe(0);
    await turn();
    expect(setup.host.faults).toEqual([]);
  });

  it('fails on a device whose bounds do not hold', async () => {
    class Unbound extends MqdmaDevice {
      override write(region: number, offset: number, width: Width, value: number | bigint): void {
        const isolates = offset === queueControlOffset(0) + queueControl.ISOLATION;
        super.write(region, offset, width, isolates ? 0 : value);
      }

      /** And it lies about it. */
      override read(region: number, offset: number, width: Width): number | bigint {
        if (offset !== queueControlOffset(0) + queueControl.ISOLATION) {
          return super.read(region, offset, width);
        }
        return isolationBit.BOUNDS;
      }
    }
    const device = new Unbound({ queueCount: 1 });
    await expect(start(device, 'device-bounds')).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
      message: /outside the bounds was written/,
    });
  });

  it('fails on a device whose bounds let nothing through: that proves nothing', async () => {
    class Closed extends MqdmaDevice {
      override write(region: number, offset: number, width: Width, value: number | bigint): void {
        const bounds = offset === queueControlOffset(0) + queueControl.DMA_LENGTH_LOW;
        super.write(region, offset, width, bounds ? 0 : value);
      }
    }
    const device = new Closed({ queueCount: 1 });
    await expect(start(device, 'device-bounds')).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
  });

  it('fails on a dead device', async () => {
    const device = new MqdmaDevice({ queueCount: 1, faultInjection: true });
    const fn = new TestFunction(device);
    device.write(mqdma.controlRegion, control.INJECT_DEAD, 4, 2);
    const options = mqdmaDriver.options.parse({});
    await expect(mqdmaDriver.start(fn, new TestHost(fn), options)).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
    });
  });
});

describe('faults', () => {
  it.each(['pasid', 'device-bounds'] as const)('under %s reach the host by slice', async (mode) => {
    const setup = await setUp(mode);
    const slice = setup.driver.slices[1]!;
    const terms = termsFor(setup.driver, 2);
    await slice.grant(terms);
    const outside = 0xabc_0000_1000;
    await submitFill(setup, 1, terms.pasid, outside);
    await turn();
    const reason = mode === 'pasid' ? 'not mapped' : 'out of bounds';
    expect(setup.host.faults).toEqual([
      { slice: 'queue1', fault: { iova: outside, access: 'write', reason } },
    ]);
  });

  it('are reported while they are still this lease’s', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    const silent = setup.fn.bus.onInterrupt;
    setup.fn.bus.onInterrupt = undefined;
    await slice.grant(termsFor(setup.driver, 3));
    await submitFill(setup, 0, 3, 0x7000_0000);
    await slice.quiesce(never);
    expect(setup.host.faults).toEqual([]);
    await slice.ungrant();
    expect(setup.host.faults).toHaveLength(1);
    setup.fn.bus.onInterrupt = silent;
    await slice.grant(termsFor(setup.driver, 4));
    await turn();
    expect(setup.host.faults).toHaveLength(1);
  });

  it('are reported although the holder resets the slice before anybody looked', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    setup.fn.bus.onInterrupt = undefined;
    await slice.grant(termsFor(setup.driver, 3));
    await submitFill(setup, 0, 3, 0x7000_0000);
    await slice.reset(never);
    expect(setup.host.faults).toHaveLength(1);
  });

  it('of many queues are all told, once each', async () => {
    const setup = await setUp('pasid', { queueCount: 40 });
    for (const [index, slice] of setup.driver.slices.entries()) {
      await slice.grant(termsFor(setup.driver, index + 1));
      await submitFill(setup, index, index + 1, 0x6000_0000);
    }
    await turn();
    expect(new Set(setup.host.faults.map(({ slice }) => slice)).size).toBe(40);
    expect(setup.host.faults).toHaveLength(40);
  });
});

describe('quiesce', () => {
  it('waits for late DMA, which lands before it says idle', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    await slice.grant(termsFor(setup.driver, 6));
    await setup.driver.inject!(slice, 'dma-delay-ms', 20);
    const data = setup.fn.bus.map(6, 0x5000_0000, 4096);
    setup.fn.bus.u8.fill(1, data, data + 64);
    await submitFill(setup, 0, 6, 0x5000_0000);
    expect(await slice.quiesce(AbortSignal.abort())).toBe('busy');
    expect(await slice.reset(AbortSignal.abort())).toBe('busy');
    expect(setup.fn.bus.u8[data]).toBe(1);
    expect(await slice.quiesce(never)).toBe('idle');
    expect(setup.fn.bus.u8[data]).toBe(0);
  });

  it('is cut short by its signal', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    await slice.grant(termsFor(setup.driver, 6));
    await setup.driver.inject!(slice, 'never-idle', 1);
    const deadline = new AbortController();
    setup.fn.clock.after(50, () => deadline.abort());
    const startMs = setup.fn.clock.nowMs();
    expect(await slice.quiesce(deadline.signal)).toBe('busy');
    expect(setup.fn.clock.nowMs() - startMs).toBeLessThan(60);
  });

  it('believes no dead function, whose IDLE bit reads 1', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    await slice.grant(termsFor(setup.driver, 6));
    await setup.driver.inject!(slice, 'dead', 1);
    expect(await slice.quiesce(never)).toBe('busy');
    expect(await slice.reset(never)).toBe('busy');
    await expect(slice.ungrant()).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
    await setup.fn.reset();
    await setup.driver.restart();
    await slice.grant(termsFor(setup.driver, 7));
  });
});

describe('permission of DMA', () => {
  it('off starts nothing and survives a reset of the slice; on goes on', async () => {
    const setup = await setUp('pasid');
    const slice = setup.driver.slices[0]!;
    await slice.grant(termsFor(setup.driver, 6));
    await slice.permitDma!(false);
    await slice.reset(never);
    const data = setup.fn.bus.map(6, 0x5000_0000, 4096);
    setup.fn.bus.u8.fill(1, data, data + 64);
    await submitFill(setup, 0, 6, 0x5000_0000);
    setup.fn.settle();
    expect(setup.fn.bus.u8[data]).toBe(1);
    await slice.permitDma!(true);
    expect(setup.fn.bus.u8[data]).toBe(0);
  });
});

describe('injection', () => {
  it('knows its faults and their values', async () => {
    const { driver } = await setUp();
    const slice = driver.slices[0]!;
    const code = (promise: Promise<void>) => expect(promise).rejects;
    await code(driver.inject!(slice, 'toString', 1)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    await code(driver.inject!(slice, 'never-idle', -1)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    await code(driver.inject!(slice, 'dma-delay-ms', 2 ** 32)).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await driver.inject!(slice, 'lost-interrupts', 2 ** 32 - 1);
  });

  it('is refused where the function has none', async () => {
    const { driver } = await setUp('pasid', { faultInjection: false });
    await expect(driver.inject!(driver.slices[0]!, 'dead', 1)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
  });
});

describe('options', () => {
  it.each([null, 1, [], { isolation: 'exclusive' }, { isolation: 1 }, { other: 1 }])(
    'refuses %j',
    (value) => {
      expect(() => mqdmaDriver.options.parse(value)).toThrow(/mqdma options/);
    },
  );
});

it('stops: no listener stays, no queue runs', async () => {
  const setup = await setUp('pasid');
  await setup.driver.slices[2]!.grant(termsFor(setup.driver, 9));
  expect(setup.fn.listenerCount(3)).toBe(1);
  await setup.driver.stop();
  expect(setup.fn.listenerCount(3)).toBe(0);
  expect(read(setup, 2, 'STATUS')).toBe(queueStatus.IDLE);
});

describe('a kick', () => {
  it.each(['emulated', 'vfio'] as const)(
    'reaches a device behind %s whose doorbells may be memory',
    async (underside) => {
      const device = new MqdmaDevice({ queueCount: 3 });
      const { fn, driver } = await start(device, 'device-bounds', underside);
      const offsetBytes = queueControlOffset(1) + queueControl.KICK;
      const written = () =>
        fn.accesses.filter(
          (access) => access.kind === 'write' && access.offsetBytes === offsetBytes,
        );
      fn.accesses.length = 0;
      fn.kicks = 0;
      driver.slices[1]!.kick?.();
      await turn();
      expect(fn.kicks).toBe(1);
      expect(written().length).toBe(underside === 'vfio' ? 1 : 0);
    },
  );
});
