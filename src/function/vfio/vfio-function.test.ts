// A function in the kernel over a kernel of files and answers: what a virtual machine cannot show.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Errno } from '../../base/errno.js';
import { OsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import * as uapi from '../../uapi/vfio.js';
import type { FunctionEvent, PciFunction } from '../types.js';
import { createVfioFunction, type VfioFunctionOptions } from './index.js';
import { configOffset, FakeVfio } from './testing/fake-vfio.js';

let kernel: FakeVfio;
let before: ReadonlyMap<number, string>;
let fn: PciFunction | undefined;
let events: FunctionEvent[];

beforeEach(() => {
  kernel = new FakeVfio();
  before = openDescriptors();
});

afterEach(async () => {
  await fn?.[Symbol.asyncDispose]();
  fn = undefined;
  kernel[Symbol.dispose]();
});

async function open(more: Partial<VfioFunctionOptions> = {}): Promise<PciFunction> {
  fn = await createVfioFunction({ ...kernel.options, ...more });
  events = [];
  fn.onEvent((event) => events.push(event));
  return fn;
}

/** Descriptors that are open beyond those of the fake itself. */
function leaked(): string[] {
  return [...openDescriptors()].filter(([fd]) => !before.has(fd)).map(([, target]) => target);
}

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let count = 0; count < 1000 && !isTrue(); count++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(isTrue()).toBe(true);
}

describe('opening', () => {
  it('tells what the function is, and has it decode memory and begin DMA', async () => {
    const { info } = await open();
    expect(info).toMatchObject({
      underside: 'vfio',
      vendorId: 0x1234,
      deviceId: 0x11e8,
      classCode: 0x00ff00,
      revisionId: 0x10,
      regions: [{ index: 0, lengthBytes: 8192, mappable: false }],
      vectorCount: 2,
      pasidBits: 0,
      iovaPageBytes: 4096,
      aperture: { start: 0, end: 2 ** 48 },
      reservedIovas: [{ start: 0xfee0_0000, end: 0xfef0_0000 }],
      epoch: 1,
    });
    expect(kernel.bytesAt(configOffset + 4, 2)[0]).toBe(0x6);
  });

  it('ends everything in order: interrupts, DMA, the IOMMU, the device', async () => {
    await open();
    kernel.log.length = 0;
    await fn![Symbol.asyncDispose]();
    expect(kernel.log).toEqual([
      `irq ${uapi.VFIO_PCI_REQ_IRQ_INDEX} off`,
      `irq ${uapi.VFIO_PCI_ERR_IRQ_INDEX} off`,
      `irq ${uapi.VFIO_PCI_MSI_IRQ_INDEX} off`,
      'command 2',
      'calls ended',
      'spaces end',
    ]);
    expect(leaked()).toEqual([]);
    expect(events).toEqual([]);
  });

  it.each([
    ['VFIO_DEVICE_GET_INFO', uapi.VFIO_DEVICE_GET_INFO],
    ['VFIO_DEVICE_GET_REGION_INFO', uapi.VFIO_DEVICE_GET_REGION_INFO],
    ['VFIO_DEVICE_GET_IRQ_INFO', uapi.VFIO_DEVICE_GET_IRQ_INFO],
  ])('leaves nothing open when %s fails', async (name, request) => {
    kernel.fail(request, 'EIO');
    await expect(open()).rejects.toMatchObject({ errno: 'EIO', syscall: name });
    expect(leaked()).toEqual([]);
  });

  const refusals: [string, () => void, object][] = [
    ['no function', () => kernel.removeNode('bus/pci'), { code: 'FUNCTION_GONE' }],
    ['no driver', () => kernel.bindTo(undefined), { code: 'FUNCTION_UNBOUND' }],
    [
      'another driver, by its name',
      () => kernel.bindTo('e1000e'),
      { code: 'FUNCTION_UNBOUND', message: '0000:00:05.0 is with e1000e' },
    ],
    ['no permission', () => (kernel.openErrno = 'EACCES'), { code: 'DENIED' }],
    ['a driver that leaves', () => (kernel.openErrno = 'ENODEV'), { code: 'FUNCTION_GONE' }],
    ['another owner', () => (kernel.bindErrno = 'EINVAL'), { code: 'FUNCTION_BUSY' }],
    ['another owner of the group', () => (kernel.bindErrno = 'EBUSY'), { code: 'FUNCTION_BUSY' }],
    ['no interrupt remapping', () => (kernel.bindErrno = 'EPERM'), { code: 'UNSUPPORTED' }],
    ['anything else', () => (kernel.bindErrno = 'ENOMEM'), { errno: 'ENOMEM' }],
  ];

  it.each(refusals)('is refused: %s', async (_what, prepare, error) => {
    prepare();
    await expect(open()).rejects.toMatchObject(error);
    expect(leaked()).toEqual([]);
  });

  it('names who of the group the host uses', async () => {
    kernel.addToGroup('0000:00:06.0');
    kernel.bindTo('nvme', '0000:00:06.0');
    kernel.bindErrno = 'EBUSY';
    await expect(open()).rejects.toMatchObject({
      code: 'GROUP_NOT_VIABLE',
      message: expect.stringContaining('0000:00:06.0 (nvme)'),
    });
  });

  it('says what a kernel without iommufd lacks, when that is asked for', async () => {
    kernel.removeNode('iommu');
    await expect(open({ way: 'iommufd' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    kernel.removeNode('bus/pci/devices/0000:00:05.0/vfio-dev');
    await expect(open({ way: 'iommufd' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'there is no character device for 0000:00:05.0',
    });
  });

  it('refuses an address that is none before anything is opened', async () => {
    const refused = open({ address: '/dev/vfio/devices/vfio0' });
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('what a device says of itself', () => {
  /** A capability that points to itself, or where it is told. */
  const cap = (next: number): Uint8Array => {
    const bytes = new Uint8Array(16);
    uapi.vfioInfoCapHeader.encodeAt({ id: 9, version: 1, next }, bytes, 0);
    return bytes;
  };
  const lies: [string, () => void][] = [
    ['a chain that loops', () => kernel.regions.set(0, { size: 4096n, caps: cap(32) })],
    ['a chain that leaves', () => kernel.regions.set(0, { size: 4096n, caps: cap(4096) })],
    ['a size past 2^53', () => kernel.regions.set(0, { size: 1n << 63n })],
    [
      'an info that is too large',
      () => kernel.regions.set(0, { size: 4096n, argsz: limits.vfioRegionInfoBytesMax + 1 }),
    ],
    ['more vectors than MSI-X has', () => kernel.irqs.set(uapi.VFIO_PCI_MSI_IRQ_INDEX, 2049)],
    ['no configuration space', () => kernel.regions.set(7, { size: 0n })],
    ['half of one', () => kernel.regions.set(7, { size: 128n, flags: 3 })],
    [
      'an MSI-X table outside its BARs',
      () => {
        kernel.setBytes(configOffset + 6, 0x10);
        kernel.setBytes(configOffset + 0x34, 0x40);
        kernel.setBytes(configOffset + 0x40, 0x11, 0, 3, 0, 0, 0x20, 0, 0);
      },
    ],
  ];

  it.each(lies)('is refused: %s', async (_what, lie) => {
    lie();
    await expect(open()).rejects.toMatchObject({ name: 'ProtocolError' });
    expect(leaked()).toEqual([]);
  });

  it('may take as much room as there is', async () => {
    const caps = new Uint8Array(limits.vfioRegionInfoBytesMax - 32);
    kernel.regions.set(0, { size: 4096n, caps });
    expect((await open()).info.regions).toHaveLength(1);
  });

  it('is refused when it is no PCI function', async () => {
    kernel.deviceFlags = uapi.VFIO_DEVICE_FLAGS_PLATFORM;
    await expect(open()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

describe('registers', () => {
  it('are one access of each width, at their place', async () => {
    const registers = (await open()).registers(0);
    await registers.write8(1, 0x11);
    await registers.write16(2, 0x2233);
    await registers.write32(4, 0x4455_6677);
    await registers.write64(8, 0x1122_3344_5566_7788n);
    const bytes = Buffer.from(kernel.bytesAt(0, 16));
    expect(bytes.toString('hex')).toBe('00113322776655448877665544332211');
    expect(await registers.read64(8)).toBe(0x1122_3344_5566_7788n);
    expect(await registers.read16(2)).toBe(0x2233);
    expect(await registers.read8(1)).toBe(0x11);
    expect(await registers.read32(4)).toBe(0x4455_6677);
  });

  it('are not read as two halves where they cannot be mapped', async () => {
    kernel.regions.set(0, { size: 8192n, flags: 0x3 });
    const registers = (await open()).registers(0);
    await expect(registers.read64(8)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(registers.write64(8, 1n)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(await registers.read32(8)).toBe(0);
  });

  it('may be all ones; when everything is, the function is gone', async () => {
    const registers = (await open()).registers(0);
    kernel.setBytes(16, 0xff, 0xff, 0xff, 0xff);
    expect(await registers.read32(16)).toBe(0xffff_ffff);
    expect(events).toEqual([]);
    kernel.pull();
    await expect(registers.read32(0)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    expect(events).toEqual([{ type: 'gone', detail: 'the device does not answer' }]);
    await expect(registers.write32(0, 1)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    await fn![Symbol.asyncDispose]();
    expect(leaked()).toEqual([]);
  });
});

describe('the host', () => {
  it('gets the function back when it asks: everything is closed', async () => {
    await open();
    const eventFd = kernel.real.events.createEventFd();
    await fn!.setInterrupt(1, eventFd);
    kernel.fire(uapi.VFIO_PCI_REQ_IRQ_INDEX);
    await until(() => leaked().length === 0);
    expect(events).toEqual([{ type: 'gone', detail: 'the host wants the device back' }]);
    expect(eventFd.isOpen).toBe(false);
    await fn!.setInterrupt(1, undefined);
    const late = kernel.real.events.createEventFd();
    await expect(fn!.setInterrupt(1, late)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    expect(late.isOpen).toBe(false);
    const gone = { code: 'FUNCTION_GONE' };
    await expect(fn!.dma.open({ pasid: undefined })).rejects.toMatchObject(gone);
    await expect(fn!.reset(new AbortController().signal)).rejects.toMatchObject(gone);
    const spec = {
      region: 0,
      ranges: [{ offsetBytes: 0, lengthBytes: 64 }],
      access: 'read',
    } as const;
    await expect(fn!.openWindow(spec, { uid: 0 })).rejects.toMatchObject(gone);
  });

  it('reports an error of the device that goes on', async () => {
    await open();
    kernel.fire(uapi.VFIO_PCI_ERR_IRQ_INDEX);
    await until(() => events.length > 0);
    expect(events[0]!.type).toBe('error');
    expect(await fn!.registers(0).read32(0)).toBe(0);
  });

  it('reports an error that was the last', async () => {
    await open();
    kernel.pull();
    kernel.fire(uapi.VFIO_PCI_ERR_IRQ_INDEX);
    await until(() => leaked().length === 0);
    expect(events.map(({ type }) => type)).toEqual(['gone']);
  });

  it('is heard when its IOMMU refuses DMA of the function, and of no other', async () => {
    await open();
    const line = (address: string): string =>
      `3,100,5000,-;DMAR: [DMA Write NO_PASID] Request device [${address}] ` +
      'fault addr 0x8001000 [fault reason 0x05] PTE Write access is not set\n';
    kernel.say(line('0000:00:06.0'));
    kernel.say(line('0000:00:05.0'));
    await until(() => events.length > 0);
    const fault = { pasid: undefined, iova: 0x800_1000, access: 'write', reason: 'not mapped' };
    expect(events).toEqual([{ type: 'fault', fault }]);
  });

  it('cannot take the thread of the IOMMU away unnoticed', async () => {
    await open();
    kernel.killSpaces();
    await until(() => leaked().length === 0);
    expect(events.map(({ type }) => type)).toEqual(['gone']);
  });
});

describe('a reset', () => {
  const never = new AbortController().signal;

  it('counts an epoch, and has the function decode memory again', async () => {
    await open();
    await fn!.reset(never);
    expect(fn!.info.epoch).toBe(2);
    expect(kernel.log).toContain('reset');
    expect(kernel.bytesAt(configOffset + 4, 2)[0]).toBe(0x6);
  });

  it('keeps accesses waiting until it is over', async () => {
    await open();
    const works = kernel.answers.get(uapi.VFIO_DEVICE_RESET)!;
    kernel.answers.set(uapi.VFIO_DEVICE_RESET, (bytes) => {
      kernel.setBytes(0, 7);
      return works(bytes);
    });
    const reset = fn!.reset(never);
    const read = fn!.registers(0).read8(0);
    const write = fn!.registers(0).write8(1, 9);
    expect(kernel.bytesAt(0, 2)).toEqual(Uint8Array.of(0, 0));
    expect(await read).toBe(7);
    await Promise.all([reset, write]);
    expect(kernel.bytesAt(0, 2)).toEqual(Uint8Array.of(7, 9));
  });

  it('is tried again while somebody has hold of the device', async () => {
    await open();
    const works = kernel.answers.get(uapi.VFIO_DEVICE_RESET)!;
    let count = 0;
    kernel.answers.set(uapi.VFIO_DEVICE_RESET, (bytes) => {
      count += 1;
      if (count < 3) throw new OsError('EAGAIN', 'ioctl');
      return works(bytes);
    });
    await fn!.reset(never);
    expect(count).toBe(3);
  });

  it('is the end of the function when it is not answered in time', async () => {
    await open();
    kernel.fail(uapi.VFIO_DEVICE_RESET, 'EAGAIN');
    const refused = fn!.reset(AbortSignal.timeout(50));
    await expect(refused).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(events).toEqual([{ type: 'gone', detail: 'the reset was not answered in time' }]);
    await until(() => leaked().length === 0);
  });

  it('is the end of one that does not answer after it', async () => {
    await open();
    kernel.answers.set(uapi.VFIO_DEVICE_RESET, () => {
      kernel.pull();
      return undefined;
    });
    await expect(fn!.reset(never)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    expect(events.map(({ type }) => type)).toEqual(['gone']);
  });

  it('is that of the bus, without groups, where the function has none of its own', async () => {
    kernel.deviceFlags = uapi.VFIO_DEVICE_FLAGS_PCI;
    await open();
    const given: unknown[] = [];
    kernel.answers.set(uapi.VFIO_DEVICE_PCI_HOT_RESET, (bytes) => {
      given.push(uapi.vfioPciHotReset.decode(bytes));
      return undefined;
    });
    await fn!.reset(never);
    expect(given).toEqual([{ argsz: 12, flags: 0, count: 0 }]);
    expect(fn!.info.epoch).toBe(2);
  });

  const reasons: [Errno, string][] = [
    ['ENODEV', 'neither has its bus one'],
    ['EINVAL', 'are on its bus'],
  ];

  it.each(reasons)('is refused with what stands against it: %s', async (errno, reason) => {
    kernel.deviceFlags = uapi.VFIO_DEVICE_FLAGS_PCI;
    await open();
    kernel.fail(uapi.VFIO_DEVICE_PCI_HOT_RESET, errno);
    await expect(fn!.reset(never)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(reason),
    });
    expect(fn!.info.epoch).toBe(1);
    expect(await fn!.registers(0).read32(0)).toBe(0);
    await turns();
    expect(events).toEqual([]);
  });
});
