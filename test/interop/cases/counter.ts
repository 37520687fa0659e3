// The counter: configuration space, registers by message, a mapped page, MSI-X with both masks,
// INTx as a level, reset, and what becomes of either side when the other goes.
import assert from 'node:assert/strict';
import {
  counter,
  counterControl,
  counterPageWord,
  counterRegister,
} from '../../../src/device/counter/registers.js';
import {
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
} from '../../../src/uapi/vfio-user.js';
import type { Running } from '../../support/lessor.js';
import { group } from '../case.js';
import { eventually, type Lab } from '../lab.js';
import { capabilityMsix, commandNoIntx, PciSlot } from '../pci.js';
import type { Qemu } from '../qemu/qemu.js';
import type { Tap } from '../tap.js';
import * as support from './support.js';

const { registerRegion, pageRegion, msixRegion, regionBytes } = counter;
const { commandOn, guestMemory } = support;
const slot = 4;

interface Stage {
  readonly server: Running;
  readonly tap: Tap;
  /** What the server held before anyone came. */
  qemu: Qemu;
  pci: PciSlot;
}

async function plug(lab: Lab, tap: Tap): Promise<Pick<Stage, 'qemu' | 'pci'>> {
  const qemu = await lab.qemu({ memory: 'shared', devices: { [slot]: tap.path } });
  const pci = new PciSlot(qemu.qtest, slot);
  await support.bringUp(pci);
  await qemu.qtest.interceptInterrupts('ioapic');
  return { qemu, pci };
}

async function open(lab: Lab): Promise<Stage> {
  const path = lab.path('counter.sock');
  const server = await lab.server(['device', 'serve', 'counter', '--listen', path], path);
  const tap = lab.tap('counter', path);
  return { server, tap, ...(await plug(lab, tap)) };
}

async function write(pci: PciSlot, register: number, value: number): Promise<void> {
  await pci.qtest.write32(pci.at(registerRegion, register), value);
}

function read(pci: PciSlot, register: number): Promise<number> {
  return pci.qtest.read32(pci.at(registerRegion, register));
}

/** Makes COUNT reach COMPARE once. */
async function reach(pci: PciSlot): Promise<void> {
  await write(pci, counterRegister.COUNT, 0);
  await write(pci, counterRegister.COMPARE, 5);
  await write(pci, counterRegister.ADD, 5);
}

async function acknowledge(pci: PciSlot): Promise<void> {
  await write(pci, counterRegister.STATUS, 1);
}

async function interruptsOn(pci: PciSlot): Promise<void> {
  await write(pci, counterRegister.CONTROL, counterControl.INTERRUPT);
}

/** A fresh target for vector 0, MSI-X enabled. */
async function vectorOn(pci: PciSlot): Promise<number> {
  const target = guestMemory.msix;
  await pci.qtest.write32(target, 0);
  await pci.setMsixVector(0, { address: target, data: 0x600d });
  await pci.enableMsix();
  await interruptsOn(pci);
  return target;
}

/** Nothing more is on its way: the device has served what came before. */
async function settle(pci: PciSlot): Promise<void> {
  for (let round = 0; round < 20; round += 1) await read(pci, counterRegister.ID);
}

export const counterGroup = group<Stage>('counter', open, {
  'the configuration space is the device’s': async ({ qemu, pci }) => {
    assert.equal(await pci.read16(0), counter.vendorId);
    assert.equal(await pci.read16(2), counter.deviceId);
    assert.equal((await pci.read32(8)) >>> 8, counter.classCode);
    assert.equal(await pci.read8(8), counter.revisionId);
    assert.equal(await pci.read8(0x3d), 1, 'interrupt pin');
    assert.ok([...(await pci.capabilities()).values()].includes(capabilityMsix));
    assert.equal(await pci.msixCount(), 1);
    const seen = await support.queryPci(qemu, slot);
    assert.equal(seen.id.device, counter.deviceId);
    assert.equal(seen.class_info.class, counter.classCode >>> 8);
  },

  'BARs have their sizes': async ({ pci }) => {
    const sizes = [...pci.bars.values()].map(({ index, lengthBytes }) => [index, lengthBytes]);
    assert.deepEqual(sizes, [
      [registerRegion, regionBytes],
      [pageRegion, regionBytes],
      [msixRegion, regionBytes],
    ]);
  },

  'registers are reached by message': async ({ pci, tap }) => {
    const since = tap.seen.length;
    assert.equal(await read(pci, counterRegister.ID), counter.id);
    await write(pci, counterRegister.COMPARE, 0x1234_5678);
    assert.equal(await read(pci, counterRegister.COMPARE), 0x1234_5678);
    assert.equal(support.accesses(tap, 'read', registerRegion, since).length, 2);
    const writes = support.accesses(tap, 'write', registerRegion, since);
    assert.deepEqual(
      writes.map(({ offset, count }) => [offset, count]),
      [[counterRegister.COMPARE, 4]],
    );
  },

  'a mapped page is read without a message': async ({ pci, tap }) => {
    const infos = tap.of(VFIO_USER_DEVICE_GET_REGION_INFO, 'server');
    assert.equal(infos.filter(({ fdCount }) => fdCount === 1).length, 1);
    await write(pci, counterRegister.COUNT, 4711);
    const since = tap.seen.length;
    const page = pci.at(pageRegion, counterPageWord.COUNT * 4);
    await support.memoryBecomes(pci.qtest, page, 4711);
    assert.equal(tap.seen.length, since, 'a message went for a mapped page');
  },

  'the counter counts in the mapped page': async ({ pci, tap }) => {
    await write(pci, counterRegister.CONTROL, counterControl.RUN);
    const page = pci.at(pageRegion, counterPageWord.COUNT * 4);
    const first = await pci.qtest.read32(page);
    const since = tap.seen.length;
    await eventually(async () => (await pci.qtest.read32(page)) > first + 20, 'counting');
    assert.equal(tap.seen.length, since);
    await write(pci, counterRegister.CONTROL, 0);
  },

  'INTx is raised, and lowered once acknowledged': async ({ qemu, pci }) => {
    const { qtest } = qemu;
    await interruptsOn(pci);
    await reach(pci);
    await eventually(() => qtest.raisedLines.length === 1, 'an interrupt line');
    await acknowledge(pci);
    await settle(pci);
    assert.deepEqual(qtest.raisedLines, []);
  },

  'INTx comes again while the level is high': async ({ qemu, pci, tap }) => {
    const { qtest } = qemu;
    const since = tap.seen.length;
    await reach(pci);
    await eventually(() => qtest.raisedLines.length === 1, 'an interrupt line');
    const [line = -1] = qtest.raisedLines;
    const raised = qtest.raiseCount(line);
    // A register access is what QEMU takes for the end of the interrupt: it lowers and unmasks.
    await read(pci, counterRegister.ID);
    await eventually(() => qtest.raiseCount(line) > raised, 'the line to be raised again');
    const unmask = tap.of(VFIO_USER_DEVICE_SET_IRQS, 'client', since);
    assert.ok(unmask.length > 0, 'QEMU unmasked nothing');
    await acknowledge(pci);
    await settle(pci);
    assert.deepEqual(qtest.raisedLines, []);
    assert.deepEqual(support.errorReplies(tap, since), []);
  },

  'MSI-X writes to the guest’s memory': async ({ qemu, pci }) => {
    const target = await vectorOn(pci);
    await reach(pci);
    await support.memoryBecomes(qemu.qtest, target, 0x600d);
    assert.deepEqual(qemu.qtest.raisedLines, [], 'INTx beside MSI-X');
    await acknowledge(pci);
  },

  'a masked vector is held back, and fires when unmasked': async ({ qemu, pci }) => {
    const target = await vectorOn(pci);
    await pci.maskMsix(0, true);
    await reach(pci);
    await settle(pci);
    assert.equal(await qemu.qtest.read32(target), 0);
    await pci.maskMsix(0, false);
    await support.memoryBecomes(qemu.qtest, target, 0x600d);
    await acknowledge(pci);
  },

  'the mask of the whole function holds vectors back too': async ({ qemu, pci }) => {
    const target = await vectorOn(pci);
    await pci.enableMsix(true);
    await reach(pci);
    await settle(pci);
    assert.equal(await qemu.qtest.read32(target), 0);
    await pci.enableMsix(false);
    await support.memoryBecomes(qemu.qtest, target, 0x600d);
    await acknowledge(pci);
    await pci.disableMsix();
  },

  'a vector that was masked from the start fires when unmasked': async ({ qemu, pci }) => {
    const target = guestMemory.msix;
    await qemu.qtest.write32(target, 0);
    await pci.setMsixVector(0, { address: target, data: 0x1a7e }, true);
    await pci.enableMsix();
    await reach(pci);
    await settle(pci);
    assert.equal(await qemu.qtest.read32(target), 0);
    await pci.maskMsix(0, false);
    await support.memoryBecomes(qemu.qtest, target, 0x1a7e);
    await acknowledge(pci);
    await pci.disableMsix();
  },

  'without MSI-X it is INTx again, unless that is disabled': async ({ qemu, pci }) => {
    const { qtest } = qemu;
    await reach(pci);
    await eventually(() => qtest.raisedLines.length === 1, 'an interrupt line');
    await acknowledge(pci);
    await settle(pci);
    await pci.command(commandOn | commandNoIntx);
    await reach(pci);
    await settle(pci);
    assert.deepEqual(qtest.raisedLines, []);
    await acknowledge(pci);
    await pci.command(commandOn);
  },

  'a reset of the machine resets the device': async ({ qemu, pci, tap }) => {
    await write(pci, counterRegister.COUNT, 99);
    const since = tap.seen.length;
    await qemu.qmp.command('system_reset');
    await eventually(
      () => tap.of(VFIO_USER_DEVICE_RESET, 'server', since).length > 0,
      'the reply to DEVICE_RESET',
    );
    await eventually(() => qemu.qmp.events.includes('RESET'), 'the reset to be done');
    await support.bringUp(pci);
    assert.equal(await read(pci, counterRegister.COUNT), 0);
    assert.deepEqual(support.errorReplies(tap), []);
  },

  'the next QEMU finds the device as the first left it': async (stage, lab) => {
    const { server, tap } = stage;
    await write(stage.pci, counterRegister.COMPARE, 0xabcd);
    assert.equal((await stage.qemu.quit()).status, 0);
    await eventually(() => tap.openCount === 0, 'the connection to end');
    await eventually(
      () => !support.holdings(server.pid).some(support.isGuests),
      'guest memory let go',
    );
    const between = support.holdings(server.pid);
    Object.assign(stage, await plug(lab, tap));
    assert.equal(await read(stage.pci, counterRegister.ID), counter.id);
    const target = await vectorOn(stage.pci);
    await reach(stage.pci);
    await support.memoryBecomes(stage.qemu.qtest, target, 0x600d);
    assert.equal((await stage.qemu.quit()).status, 0);
    await support.holdsAsBefore(server.pid, between);
    Object.assign(stage, await plug(lab, tap));
  },

  'a QEMU that is killed leaves nothing with the server': async (stage, lab) => {
    const { server, tap } = stage;
    const busy = support.holdings(server.pid);
    stage.qemu.kill();
    await stage.qemu.exited;
    await eventually(
      () => !support.holdings(server.pid).some(support.isGuests),
      'guest memory let go',
    );
    Object.assign(stage, await plug(lab, tap));
    assert.equal(await read(stage.pci, counterRegister.ID), counter.id);
    await support.holdsAsBefore(server.pid, busy);
  },

  'QEMU outlives a server that is killed': async ({ server, tap, qemu, pci }) => {
    await server.stop('SIGKILL');
    await eventually(() => tap.openCount === 0, 'the connection to end');
    await write(pci, counterRegister.COMPARE, 1);
    await read(pci, counterRegister.COMPARE);
    await pci.qtest.read32(pci.at(pageRegion, 0));
    await pci.qtest.write32(guestMemory.source, 7);
    assert.equal(await pci.qtest.read32(guestMemory.source), 7);
    assert.equal((await qemu.quit()).status, 0);
  },
});
