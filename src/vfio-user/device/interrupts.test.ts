// INTx, MSI and MSI-X of a served device, by the eventfds that a client bound.
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fd } from '../../os/fd.js';
import { openCount } from '../../os/testing/open-descriptors.js';
import { command, errnoOf, type Lab, labOs, startLab } from '../testing/lab.js';
import { labRegister } from '../testing/lab-device.js';

const config = 7;
const intx = 0;
const msi = 1;
const msix = 2;
const vectorControl = 12;

let lab: Lab;
let targets: Fd[];

/** Eventfds bound from `start` on. */
async function bind(index: number, start: number, count: number): Promise<Fd[]> {
  const fds = Array.from({ length: count }, () => labOs.events.createEventFd());
  targets.push(...fds);
  const copies = fds.map((fd) => fd.duplicate());
  await lab.client.setIrqs({ action: 'bind', index, start, fds: copies });
  return fds;
}

function take(fd: Fd | undefined): number {
  return Number(labOs.events.drain(fd!));
}

const fire = (vector: number) => lab.client.write32(0, labRegister.INTERRUPT, vector);
const drive = (level: number) => lab.client.write32(0, labRegister.PIN, level);
const interruptStatus = async () => ((await lab.client.read16(config, 6)) >> 3) & 1;

beforeEach(async () => {
  targets = [];
  lab = await startLab();
});

afterEach(async () => {
  for (const fd of targets) fd.close();
  await lab[Symbol.asyncDispose]();
});

describe('the INTx pin', () => {
  it('signals once and stays silent until it is unmasked, then again while it is high', async () => {
    const [pin] = await bind(intx, 0, 1);
    await drive(1);
    await drive(1);
    expect(take(pin)).toBe(1);
    await drive(0);
    await drive(1);
    expect(take(pin)).toBe(0);
    await lab.client.setIrqs({ action: 'unmask', index: intx, vectors: [0] });
    expect(take(pin)).toBe(1);
    await drive(0);
    await lab.client.setIrqs({ action: 'unmask', index: intx, vectors: [0] });
    expect(take(pin)).toBe(0);
    await drive(1);
    expect(take(pin)).toBe(1);
  });

  it('signals when it is bound while high', async () => {
    await drive(1);
    const [pin] = await bind(intx, 0, 1);
    expect(take(pin)).toBe(1);
  });

  it('shows its level in STATUS, whatever is masked', async () => {
    expect(await interruptStatus()).toBe(0);
    await lab.setCommand(command.INTX_DISABLE);
    await drive(1);
    expect(await interruptStatus()).toBe(1);
    await drive(0);
    expect(await interruptStatus()).toBe(0);
  });

  it('is silent while masked by the client or by COMMAND', async () => {
    const [pin] = await bind(intx, 0, 1);
    await lab.client.setIrqs({ action: 'mask', index: intx, vectors: [0] });
    await drive(1);
    expect(take(pin)).toBe(0);
    await lab.setCommand(command.INTX_DISABLE);
    await lab.client.setIrqs({ action: 'unmask', index: intx, vectors: [0] });
    expect(take(pin)).toBe(0);
    await lab.setCommand(0);
    expect(take(pin)).toBe(1);
  });

  it('is silent while MSI or MSI-X is on, and goes on afterwards', async () => {
    const [pin] = await bind(intx, 0, 1);
    await bind(msix, 0, 1);
    await drive(1);
    expect(take(pin)).toBe(0);
    await lab.client.setIrqs({ action: 'disable', index: msix });
    expect(take(pin)).toBe(1);
  });

  it('falls with a reset', async () => {
    const [pin] = await bind(intx, 0, 1);
    await drive(1);
    await lab.client.reset();
    expect(await interruptStatus()).toBe(0);
    await lab.client.setIrqs({ action: 'unmask', index: intx, vectors: [0] });
    expect(take(pin)).toBe(1);
    await drive(1);
    expect(take(pin)).toBe(1);
  });
});

describe('MSI-X', () => {
  it('fires the vector that the device names, and no other', async () => {
    const fds = await bind(msix, 3, 4);
    await fire(4);
    await fire(4);
    await fire(69);
    await fire(70);
    await fire(0xffff_ffff);
    expect(fds.map(take)).toEqual([0, 2, 0, 0]);
  });

  it('keeps what fires while a vector is masked by the client', async () => {
    const [fd] = await bind(msix, 5, 1);
    await lab.client.setIrqs({ action: 'mask', index: msix, vectors: [5] });
    await fire(5);
    await fire(5);
    expect(take(fd)).toBe(0);
    expect(await lab.client.read64(4, 0x1000)).toBe(1n << 5n);
    await lab.client.setIrqs({ action: 'unmask', index: msix, vectors: [5] });
    expect(take(fd)).toBe(1);
    expect(await lab.client.read64(4, 0x1000)).toBe(0n);
  });

  it('keeps what fires while a vector is masked in the table', async () => {
    const [fd] = await bind(msix, 69, 1);
    const control = 69 * 16 + vectorControl;
    await lab.client.write32(4, control, 0xffff_ffff);
    expect(await lab.client.read32(4, control)).toBe(1);
    await fire(69);
    expect([take(fd), await lab.client.read64(4, 0x1008)]).toEqual([0, 1n << 5n]);
    await lab.client.write32(4, control, 0);
    expect([take(fd), await lab.client.read64(4, 0x1008)]).toEqual([1, 0n]);
  });

  it('keeps what fires while the function is masked', async () => {
    const [fd] = await bind(msix, 1, 1);
    const capability = (await lab.client.regionRead(config, 0x34, 1))[0]!;
    await lab.client.write16(config, capability + 2, 0xc000);
    await fire(1);
    expect(take(fd)).toBe(0);
    await lab.client.write16(config, capability + 2, 0x8000);
    expect(take(fd)).toBe(1);
  });

  it('has a table that keeps addresses and data, and a PBA that cannot be written', async () => {
    await lab.client.write64(4, 16, 0x1234_5678_9abc_def0n);
    expect(await lab.client.read64(4, 16)).toBe(0x1234_5678_9abc_def0n);
    await lab.client.write64(4, 0x1000, -1n);
    expect(await lab.client.read64(4, 0x1000)).toBe(0n);
    expect(lab.device.calls).toEqual([]);
    // The rest of the region is the device's.
    await lab.client.read32(4, 0x1ff0);
    expect(lab.device.calls).toEqual([`read 4 ${0x1ff0} 4`]);
  });

  it('forgets what is pending with a reset, but not what is bound', async () => {
    const [fd] = await bind(msix, 0, 1);
    await lab.client.write32(4, vectorControl, 1);
    await fire(0);
    await lab.client.reset();
    expect(await lab.client.read32(4, vectorControl)).toBe(0);
    expect(take(fd)).toBe(0);
    await fire(0);
    expect(take(fd)).toBe(1);
  });

  it('is fired by the client itself, whatever is masked', async () => {
    const [one, other] = await bind(msix, 0, 2);
    await lab.client.setIrqs({ action: 'mask', index: msix, vectors: [0] });
    await lab.client.setIrqs({ action: 'trigger', index: msix, vectors: [0] });
    expect([take(one), take(other)]).toEqual([1, 0]);
  });
});

describe('MSI', () => {
  const capability = 0x4c;

  it('fires the vector that the device names', async () => {
    const fds = await bind(msi, 0, 4);
    await fire(3);
    expect(fds.map(take)).toEqual([0, 0, 0, 1]);
  });

  it('uses the vectors that software allotted', async () => {
    const fds = await bind(msi, 0, 2);
    await lab.client.write16(config, capability + 2, 0x11);
    await fire(0);
    await fire(3);
    expect(fds.map(take)).toEqual([1, 1]);
  });

  it('keeps what fires while masked in the capability', async () => {
    const [fd] = await bind(msi, 0, 4);
    await lab.client.write32(config, capability + 16, 1);
    await fire(0);
    expect([take(fd), await lab.client.read32(config, capability + 20)]).toEqual([0, 1]);
    await lab.client.write32(config, capability + 16, 0);
    expect([take(fd), await lab.client.read32(config, capability + 20)]).toEqual([1, 0]);
  });

  it('gives way to MSI-X', async () => {
    const [one] = await bind(msi, 0, 1);
    const [other] = await bind(msix, 0, 1);
    await fire(0);
    expect([take(one), take(other)]).toEqual([0, 1]);
  });
});

describe('bound descriptors', () => {
  it('are replaced, unbound and closed', async () => {
    const before = openCount();
    const [first] = await bind(msix, 2, 1);
    const [second] = await bind(msix, 2, 1);
    expect(openCount()).toBe(before + 3);
    await fire(2);
    expect([take(first), take(second)]).toEqual([0, 1]);
    await lab.client.setIrqs({ action: 'unbind', index: msix, start: 0, count: 70 });
    await fire(2);
    expect(take(second)).toBe(0);
    expect(openCount()).toBe(before + 2);
  });

  it('must be eventfds, all of them', async () => {
    const before = openCount();
    const memory = labOs.memory.create('lessor-test-no-eventfd', 4096);
    const fds = [labOs.events.createEventFd(), memory];
    const change = { action: 'bind', index: msix, start: 0, fds } as const;
    expect(await errnoOf(lab.client.setIrqs(change))).toBe('EBADF');
    expect(openCount()).toBe(before);
  });

  it('take a storm, also when nobody reads them', async () => {
    const [fd] = await bind(msix, 0, 1);
    for (let count = 0; count < 5000; count++) lab.device.bus!.interrupt(0);
    expect(take(fd)).toBe(5000);
    // Full: a write would block, or fail on this one.
    writeSync(fd!.number, new BigUint64Array([2n ** 64n - 2n]));
    for (let count = 0; count < 100; count++) await fire(0);
    expect(await lab.client.read32(0, labRegister.RESETS)).toBe(0);
  });
});
