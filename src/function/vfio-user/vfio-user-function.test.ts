// A served function whose server dies, lies or does not answer.
import { afterEach, describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { MiB, toIova } from '../../base/units.js';
import type { DmaAccount } from '../../iommu/types.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import { serveVfioUser } from '../../vfio-user/index.js';
import { TestEndpoint } from '../../vfio-user/testing/endpoint.js';
import { kernelWorld } from '../../vfio-user/testing/world.js';
import { counterDma, counterId, counterRegister } from '../testing/counter-device.js';
import { eventually, openFrame, pause } from '../testing/counter-fixture.js';
import { DirectHelpers } from '../testing/direct-helpers.js';
import { createServedFixture, type ServedFixture, servedOs } from '../testing/served-fixture.js';
import type { FunctionEvent } from '../types.js';
import { createVfioUserFunction, type VfioUserFunctionOptions } from './index.js';

const backoff = { firstMs: 5, maxMs: 50 };
const gone = { code: 'SERVER_GONE' };
let fixture: ServedFixture | undefined;
let events: FunctionEvent[] = [];

afterEach(async () => {
  await fixture?.[Symbol.asyncDispose]();
  fixture = undefined;
});

async function start(options: Partial<VfioUserFunctionOptions> = {}): Promise<ServedFixture> {
  const made = await createServedFixture({ reconnect: { backoff }, ...options });
  events = [];
  made.fn.onEvent((event) => events.push(event));
  fixture = made;
  return made;
}

function types(): string[] {
  return events.map(({ type }) => type);
}

function told(type: FunctionEvent['type']): Promise<void> {
  return eventually(servedOs.clock, type, () => types().includes(type));
}

function account(): DmaAccount {
  return { placedBytesMax: 64 * MiB, tablePagesMax: 100, placedBytes: 0, tablePages: 0 };
}

describe('the death of the server', () => {
  it('ends windows and maps for good, and leaves interrupts bound', async () => {
    const { fn, events: os, memory, stop, serve } = await start();
    const { epoch } = fn.info;
    const window = await openFrame(fixture!, 0);
    await window.connect();
    const space = await fn.dma.open({ pasid: undefined });
    using fd = memory.create('lessor-test-client', 8192);
    const iova = toIova(0x10_0000);
    const mapping = await space.map({ fd, offsetBytes: 0 }, iova, 8192, 'read-write', account());
    const target = os.createEventFd();
    using seen = target.duplicate();
    await fn.setInterrupt(1, target);

    await stop();
    await told('away');
    const registers = fn.registers(0);
    await expect(registers.read32(counterRegister.ID)).rejects.toMatchObject(gone);
    await expect(fn.dma.open({ pasid: undefined })).rejects.toMatchObject(gone);
    await expect(openFrame(fixture!, 1)).rejects.toMatchObject(gone);
    await expect(fn.reset(AbortSignal.timeout(1000))).rejects.toMatchObject(gone);
    await expect(fn.setInterrupt(2, os.createEventFd())).rejects.toMatchObject(gone);
    await fn.setInterrupt(2, undefined);
    expect(await window.registers.read32(0)).toBe(0xffff_ffff);
    const memoryOf = { fd, offsetBytes: 0 };
    await expect(space.map(memoryOf, iova, 4096, 'read', account())).rejects.toMatchObject({
      code: 'LEASE_STALE',
    });

    await serve();
    await told('back');
    expect(types()).toEqual(['away', 'back']);
    expect(fn.info.epoch).toBe(epoch + 1);
    expect(await registers.read32(counterRegister.ID)).toBe(counterId);
    // The window that was there may not reach the new one.
    await window.registers.write32(0, 9);
    expect(await window.registers.read32(0)).toBe(0xffff_ffff);
    expect(await fn.registers(2).read32(0)).toBe(0);
    await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
    await registers.write32(counterRegister.INTERRUPT, 1);
    await eventually(servedOs.clock, 'the interrupt', () => os.drain(seen) === 1n);
    await fn.setInterrupt(1, undefined);

    // Nothing is mapped, the range is free again, and DMA is permitted.
    const write = async (): Promise<number> => {
      await registers.write32(counterRegister.DMA_IOVA_LOW, iova);
      await registers.write32(counterRegister.DMA_LENGTH, 16);
      await registers.write32(counterRegister.DMA_PASID, 0xffff_ffff);
      await registers.write32(counterRegister.DMA_COMMAND, counterDma.write);
      return registers.read32(counterRegister.DMA_COMMAND);
    };
    expect(await write()).not.toBe(0);
    await space.unmap(mapping);
    await space[Symbol.asyncDispose]();
    const next = await fn.dma.open({ pasid: undefined });
    await next.map(memoryOf, iova, 4096, 'read-write', account());
    expect(await write()).toBe(0);
    await next[Symbol.asyncDispose]();
    await window[Symbol.asyncDispose]();
  });

  it('is final when another device comes back', async () => {
    const { fn, stop, serve } = await start();
    await stop();
    await serve(8);
    await told('gone');
    expect(types()).toEqual(['away', 'gone']);
    const registers = fn.registers(0);
    await expect(registers.read32(0)).rejects.toMatchObject({ code: 'DEVICE_CHANGED' });
    await expect(fn.dma.open({ pasid: undefined })).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
    });
    await fn.setInterrupt(0, undefined);
  });

  it('is final for a function over one connection', async () => {
    const { path, fn } = await start();
    await fn[Symbol.asyncDispose]();
    const os = servedOs;
    const helpers = new DirectHelpers(os.memory);
    const socket = os.sockets.connect(path);
    const other = await createVfioUserFunction({ os, helpers, socket, name: 'counter' });
    other.onEvent((event) => events.push(event));
    expect(await other.registers(0).read32(0)).toBe(counterId);
    await fixture!.stop();
    await told('gone');
    expect(types()).toEqual(['away', 'gone']);
    await other[Symbol.asyncDispose]();
  });

  it('leaves no descriptor', async () => {
    const count = (): number =>
      [...openDescriptors().values()].filter((link) => /socket:|eventfd|memfd:lessor/.test(link))
        .length;
    const before = count();
    const { fn, memory, events: os, stop } = await start();
    const space = await fn.dma.open({ pasid: undefined });
    const fd = memory.create('lessor-test-client', 4096);
    await space.map({ fd, offsetBytes: 0 }, toIova(0x1000), 4096, 'read', account());
    await fn.setInterrupt(0, os.createEventFd());
    await stop();
    await told('away');
    fd.close();
    await fixture![Symbol.asyncDispose]();
    fixture = undefined;
    await eventually(servedOs.clock, 'all is closed', () => count() <= before);
  });
});

/** A function over an endpoint that a test makes misbehave. */
async function hostile(
  become: (endpoint: TestEndpoint) => void,
  options: Partial<VfioUserFunctionOptions> = {},
) {
  const os = servedOs;
  const [near, far] = os.sockets.pair();
  const endpoint = new TestEndpoint(kernelWorld());
  become(endpoint);
  const server = serveVfioUser(os.sockets.stream(far), endpoint, { clock: os.clock });
  const helpers = new DirectHelpers(os.memory);
  const socket = os.sockets.stream(near);
  const made = createVfioUserFunction({ os, helpers, socket, name: 'bad', ...options });
  return { made, endpoint, close: () => server.close() };
}

/** A configuration space with an MSI-X capability; `change` spoils it. */
function config(change: (bytes: Uint8Array) => void): (endpoint: TestEndpoint) => void {
  return (endpoint) => {
    const bytes = endpoint.memory[7]!;
    bytes.set([0x36, 0x1b, 0x07, 0x1c], 0);
    bytes.set([0x01, 0x00, 0x00, 0x12], 8);
    bytes[6] = 0x10;
    bytes[0x34] = 0x40;
    // 24 vectors, the table at 0 of region 1, the PBA at 0x800 of it.
    bytes.set([0x11, 0, 23, 0, 1, 0, 0, 0, 1, 8, 0, 0], 0x40);
    change(bytes);
  };
}

describe('a server', () => {
  it('is taken at its word where that is consistent', async () => {
    const { made, close } = await hostile(config(() => {}));
    await using fn = await made;
    expect(fn.info).toMatchObject({
      underside: 'vfio-user',
      vendorId: 0x1b36,
      deviceId: 0x1c07,
      classCode: 0x120000,
      revisionId: 1,
      vectorCount: 24,
      pasidBits: 0,
      iovaPageBytes: 4096,
      reserved: [
        { region: 1, offsetBytes: 0, lengthBytes: 384 },
        { region: 1, offsetBytes: 0x800, lengthBytes: 8 },
      ],
    });
    close();
  });

  it.each<[string, (bytes: Uint8Array) => void]>([
    ['a table past its region', (bytes) => bytes.set([1, 0x10, 0, 0], 0x44)],
    ['a table in no region', (bytes) => bytes.set([4, 0, 0, 0], 0x44)],
    ['a table in region 7', (bytes) => bytes.set([7, 0, 0, 0], 0x44)],
    ['a PBA past its region', (bytes) => bytes.set([1, 0xff, 0xff, 0xff], 0x48)],
    ['a chain that loops', (bytes) => bytes.set([9, 0x40], 0x40)],
    [
      'a capability that is cut off',
      (bytes) => {
        bytes[0x34] = 0xf8;
        bytes[0xf8] = 0x11;
      },
    ],
  ])('with %s is refused', async (_what, change) => {
    const { made, close } = await hostile(config(change));
    await expect(made).rejects.toMatchObject({ errno: 'EINVAL' });
    close();
  });

  it('without MSI-X has the vectors of MSI, if any', async () => {
    const { made, close } = await hostile((endpoint) => {
      endpoint.irqs = endpoint.irqs.map((irq, index) => (index === 1 ? { ...irq, count: 4 } : irq));
    });
    await using fn = await made;
    expect(fn.info).toMatchObject({ vectorCount: 4, reserved: [] });
    await fn.setInterrupt(3, servedOs.events.createEventFd());
    close();
  });

  it('that does not answer in time is away', async () => {
    const { made, endpoint, close } = await hostile(
      config(() => {}),
      { requestDeadlineMs: 100 },
    );
    await using fn = await made;
    events = [];
    fn.onEvent((event) => events.push(event));
    endpoint.before = () => new Promise(() => {});
    await expect(fn.registers(0).read32(0)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await told('away');
    close();
  });

  it('that does not reset in time is away', async () => {
    const { made, endpoint, close } = await hostile(config(() => {}));
    await using fn = await made;
    events = [];
    fn.onEvent((event) => events.push(event));
    endpoint.before = (call) => (call === 'reset' ? new Promise(() => {}) : undefined);
    await expect(fn.reset(AbortSignal.timeout(50))).rejects.toMatchObject(gone);
    await told('away');
    close();
  });

  it('that does not unmap is away', async () => {
    const { made, endpoint, close } = await hostile(config(() => {}));
    await using fn = await made;
    events = [];
    fn.onEvent((event) => events.push(event));
    const space = await fn.dma.open({ pasid: undefined });
    const mapping = await space.map(
      { fd: undefined, offsetBytes: 0 },
      toIova(0x1000),
      4096,
      'read',
      account(),
    );
    endpoint.before = (call) => {
      if (call.startsWith('unmap')) throw new OsError('ENOENT', 'test');
    };
    await space.unmap(mapping).catch(() => undefined);
    await told('away');
    close();
  });

  it('that refuses a map is quoted, and the range stays free', async () => {
    const { made, endpoint, close } = await hostile(config(() => {}));
    await using fn = await made;
    const space = await fn.dma.open({ pasid: undefined });
    using fd = servedOs.memory.create('lessor-test-client', 4096);
    const map = () => space.map({ fd, offsetBytes: 0 }, toIova(0x1000), 4096, 'read', account());
    for (const [errno, code] of [
      ['EEXIST', 'IOVA_OVERLAP'],
      ['ENOSPC', 'QUOTA_EXCEEDED'],
      ['EIO', 'SYSTEM_FAILED'],
    ] as const) {
      endpoint.before = (call) => {
        if (call.startsWith('map')) throw new OsError(errno, 'test');
      };
      await expect(map()).rejects.toMatchObject({ code });
    }
    endpoint.before = () => {};
    await map();
    await expect(map()).rejects.toMatchObject({ code: 'IOVA_OVERLAP' });
    await space[Symbol.asyncDispose]();
    await pause(servedOs.clock, 1);
    close();
  });
});
