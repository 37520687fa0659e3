import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { silentLogger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import { createOs } from '../../os/index.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import {
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../../uapi/vfio.js';
import { openInterrupts } from './interrupts.js';
import { watchIrq } from './interrupts-set.js';
import { FakeInterrupts, type FakeIrq } from './testing/fake-interrupts.js';

const os = createOs();
const { events } = os;
const parts = { events, clock: os.clock, log: silentLogger };
const msix: FakeIrq = { index: VFIO_PCI_MSIX_IRQ_INDEX, count: 9 };
const msi: FakeIrq = { index: VFIO_PCI_MSI_IRQ_INDEX, count: 4 };
const intx: FakeIrq = { index: VFIO_PCI_INTX_IRQ_INDEX, count: 1 };

const devices: FakeInterrupts[] = [];
afterEach(() => {
  for (const device of devices.splice(0)) device[Symbol.dispose]();
});

function deviceWith(...irqs: readonly FakeIrq[]): FakeInterrupts {
  const device = new FakeInterrupts(irqs);
  devices.push(device);
  return device;
}

/** What the holder keeps, and what it gives away. */
function pair(): { readonly own: Fd; readonly given: Fd } {
  const own = events.createEventFd();
  return { own, given: own.duplicate() };
}

describe('which interrupts a function in the kernel has', () => {
  it.each([
    { name: 'the best of three', irqs: [msix, msi, intx], kind: 'msi-x', vectorCount: 9 },
    { name: 'MSI before INTx', irqs: [msi, intx], kind: 'msi', vectorCount: 4 },
    { name: 'INTx when there is nothing else', irqs: [intx], kind: 'intx', vectorCount: 1 },
    { name: 'none', irqs: [], kind: 'none', vectorCount: 0 },
    {
      name: 'as many vectors as the system has left',
      irqs: [{ ...msix, available: 5 }, msi],
      kind: 'msi-x',
      vectorCount: 5,
    },
    {
      name: 'the next kind when the system has nothing left of the best',
      irqs: [{ ...msix, available: 0 }, { ...msi, available: 0 }, intx],
      kind: 'intx',
      vectorCount: 1,
    },
    {
      name: 'no more vectors than the limit',
      irqs: [{ ...msix, count: limits.vectorsPerLeaseMax + 1 }],
      kind: 'msi-x',
      vectorCount: limits.vectorsPerLeaseMax,
    },
  ])('$name', async ({ irqs, kind, vectorCount }) => {
    const device = deviceWith(...irqs);
    await using interrupts = await openInterrupts(device, parts);
    expect(interrupts).toMatchObject({ kind, vectorCount });
    expect(device.enabledCount).toBe(vectorCount);
  });

  it('can be chosen among', async () => {
    await using interrupts = await openInterrupts(deviceWith(msix, intx), parts, ['intx']);
    expect(interrupts.kind).toBe('intx');
  });

  it('is no question when the device is gone', async () => {
    const device = deviceWith(msix, intx);
    device.isGone = true;
    await expect(openInterrupts(device, parts)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
  });

  it('none takes and closes a target all the same', async () => {
    const before = openDescriptors().size;
    await using interrupts = await openInterrupts(deviceWith(), parts);
    const refused = interrupts.bind(0, events.createEventFd());
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(openDescriptors().size - before).toBeLessThanOrEqual(2);
  });
});

describe('vectors', () => {
  it('ring who is bound, and nobody before or after', async () => {
    const device = deviceWith(msix);
    await using interrupts = await openInterrupts(device, parts);
    const { own, given } = pair();
    using _own = own;
    device.fire(3);
    await interrupts.bind(3, given);
    expect(events.drain(own)).toBe(0n);
    device.fire(3);
    device.fire(2);
    expect(events.drain(own)).toBe(1n);
    await interrupts.bind(3, undefined);
    expect(given.isOpen).toBe(false);
    device.fire(3);
    expect(events.drain(own)).toBe(0n);
    expect(device.enabledCount).toBe(9);
  });

  it('of MSI, which cannot be masked, ring for nobody rather than write to memory', async () => {
    const device = deviceWith(msi);
    await using interrupts = await openInterrupts(device, parts);
    const { own, given } = pair();
    using _own = own;
    device.fire(1);
    await interrupts.bind(1, given);
    device.fire(1);
    expect(events.drain(own)).toBe(1n);
    await interrupts.bind(1, undefined);
    device.fire(1);
    expect(events.drain(own)).toBe(0n);
    expect(device.strayWriteCount).toBe(0);
  });

  it('change hands, and the first target is closed', async () => {
    const device = deviceWith(msi);
    await using interrupts = await openInterrupts(device, parts);
    const first = pair();
    const second = pair();
    using _first = first.own;
    using _second = second.own;
    await Promise.all([interrupts.bind(0, first.given), interrupts.bind(0, second.given)]);
    device.fire(0);
    expect([events.drain(first.own), events.drain(second.own)]).toEqual([0n, 1n]);
    expect([first.given.isOpen, second.given.isOpen]).toEqual([false, true]);
  });

  it.each([-1, 9, 1.5, Number.NaN])('there is none numbered %s', async (vector) => {
    await using interrupts = await openInterrupts(deviceWith(msix), parts);
    const target = events.createEventFd();
    const refused = interrupts.bind(vector, target);
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(target.isOpen).toBe(false);
  });

  it('ring eventfds and nothing else', async () => {
    const device = deviceWith(msix);
    await using interrupts = await openInterrupts(device, parts);
    const memory = os.memory.create('no-eventfd', 4096);
    await expect(interrupts.bind(0, memory)).rejects.toMatchObject({ code: 'FD_REFUSED' });
    expect(memory.isOpen).toBe(false);
    expect(device.boundVectors).toEqual([]);
  });

  it('that cannot be bound to another ring nobody, and keep no descriptor', async () => {
    const device = deviceWith(msix);
    await using interrupts = await openInterrupts(device, parts);
    const first = pair();
    const second = pair();
    using _first = first.own;
    using _second = second.own;
    await interrupts.bind(1, first.given);
    device.failNext('ENOMEM');
    await expect(interrupts.bind(1, second.given)).rejects.toMatchObject({ errno: 'ENOMEM' });
    expect([first.given.isOpen, second.given.isOpen]).toEqual([false, false]);
    expect(device.boundVectors).toEqual([]);
  });

  it('that cannot be unbound stay with their target, until the end', async () => {
    const device = deviceWith(msix);
    const interrupts = await openInterrupts(device, parts);
    const { own, given } = pair();
    using _own = own;
    await interrupts.bind(1, given);
    device.failNext('EIO');
    await expect(interrupts.bind(1, undefined)).rejects.toMatchObject({ errno: 'EIO' });
    expect(given.isOpen).toBe(true);
    await interrupts[Symbol.asyncDispose]();
    expect(given.isOpen).toBe(false);
  });

  it('are given up once, all of them, and then take nothing', async () => {
    const device = deviceWith(msix);
    const interrupts = await openInterrupts(device, parts);
    const { own, given } = pair();
    using _own = own;
    await interrupts.bind(8, given);
    await Promise.all([interrupts[Symbol.asyncDispose](), interrupts[Symbol.asyncDispose]()]);
    expect(given.isOpen).toBe(false);
    expect(device.enabledCount).toBe(0);
    const late = events.createEventFd();
    await expect(interrupts.bind(8, late)).rejects.toThrow();
    expect(late.isOpen).toBe(false);
  });

  it('of a device that is gone are closed all the same', async () => {
    const device = deviceWith(msix);
    const interrupts = await openInterrupts(device, parts);
    const { own, given } = pair();
    using _own = own;
    await interrupts.bind(0, given);
    device.isGone = true;
    await interrupts[Symbol.asyncDispose]();
    expect(given.isOpen).toBe(false);
  });
});

describe('an interrupt of the device itself', () => {
  it('calls back until it is disposed', async () => {
    const device = deviceWith({ index: VFIO_PCI_ERR_IRQ_INDEX, count: 1 });
    const before = openDescriptors().size;
    let resolve: () => void = () => {};
    const fired = new Promise<void>((done) => {
      resolve = done;
    });
    const watch = await watchIrq(device, events, VFIO_PCI_ERR_IRQ_INDEX, resolve);
    device.fire(0);
    await fired;
    await watch[Symbol.asyncDispose]();
    expect(device.boundVectors).toEqual([]);
    expect(openDescriptors().size).toBe(before);
  });

  it('that cannot be bound leaves nothing behind', async () => {
    const device = deviceWith({ index: VFIO_PCI_ERR_IRQ_INDEX, count: 1 });
    const before = openDescriptors().size;
    device.failNext('EINVAL');
    const refused = watchIrq(device, events, VFIO_PCI_ERR_IRQ_INDEX, () => {});
    await expect(refused).rejects.toMatchObject({ errno: 'EINVAL' });
    expect(openDescriptors().size).toBe(before);
  });
});
