// A lease as a guest's device: a broker leases a queue to whoever connects to a socket, QEMU does,
// and a guest driver works with it until it is revoked under its feet.
import assert from 'node:assert/strict';
import { completionStatus, mqdma, opcode, ringState } from '../../../src/device/mqdma/datasheet.js';
import { decodeWindowCapability, type ShownWindow } from '../../../src/device/window-capability.js';
import { VFIO_USER_DEVICE_RESET, VFIO_USER_DMA_MAP } from '../../../src/uapi/vfio-user.js';
import type { Running } from '../../support/lessor.js';
import { group } from '../case.js';
import { GuestQueue } from '../guest-queue.js';
import { eventually, type Lab } from '../lab.js';
import { capabilityVendor, PciSlot } from '../pci.js';
import { guestMemoryBytes, type Qemu } from '../qemu/qemu.js';
import type { Tap } from '../tap.js';
import * as support from './support.js';

const { guestMemory } = support;
const slot = 7;
const copyBytes = 10_000;
const firstName = 'lease';

interface Stage {
  readonly broker: Running;
  /** The process that acquired and listens. */
  acquirer: Running;
  id: string;
  tap: Tap;
  qemu: Qemu;
  pci: PciSlot;
  queue: GuestQueue;
}

interface LeaseRow {
  readonly id: string;
  readonly slice: string;
  readonly state: string;
  readonly revocation: string;
}

async function leases(lab: Lab): Promise<readonly LeaseRow[]> {
  const { stdout } = await lab.bench.run(['leases', '--json']);
  return JSON.parse(stdout) as readonly LeaseRow[];
}

async function freeSlices(lab: Lab): Promise<number> {
  const { stdout } = await lab.bench.run(['functions', '--json']);
  const { slices } = JSON.parse(stdout) as { slices: readonly { state: string }[] };
  return slices.filter(({ state }) => state === 'free').length;
}

/** The lease's own list of its windows, out of configuration space. */
async function windowsOf(pci: PciSlot): Promise<readonly ShownWindow[]> {
  const at = await pci.capability(capabilityVendor);
  const config = await pci.config();
  const lengthBytes = config[at + 2] ?? 0;
  return decodeWindowCapability(config.subarray(at + 3, at + lengthBytes));
}

async function queueOf(pci: PciSlot): Promise<GuestQueue> {
  const windows = await windowsOf(pci);
  const addressOf = (name: string): number => {
    const window = windows.find((each) => each.name === name);
    assert.ok(window, `no window ${name}`);
    return pci.at(window.region, window.offsetBytes);
  };
  const page = addressOf('queue');
  const places = { page, status: addressOf('status'), rings: guestMemory.rings };
  return new GuestQueue(pci.qtest, places, () => Promise.resolve());
}

type Joined = Pick<Stage, 'acquirer' | 'id' | 'tap' | 'qemu' | 'pci' | 'queue'>;

/** Acquires a lease and plugs it into a new QEMU. */
async function join(lab: Lab, name: string, more: readonly string[] = []): Promise<Joined> {
  const path = lab.path(`${name}.sock`);
  const words = ['acquire', '--listen', path, '--memory', String(guestMemoryBytes), '--json'];
  const acquirer = await lab.server([...words, ...more], path);
  await acquirer.saying(/\n}\n/);
  const { id } = JSON.parse(acquirer.stdout) as { id: string };
  const tap = lab.tap(name, path, name === firstName);
  const qemu = await lab.qemu({ memory: 'shared', devices: { [slot]: tap.path } });
  const pci = new PciSlot(qemu.qtest, slot);
  await support.bringUp(pci);
  return { acquirer, id, tap, qemu, pci, queue: await queueOf(pci) };
}

async function open(lab: Lab): Promise<Stage> {
  const broker = await lab.bench.serve();
  return { broker, ...(await join(lab, firstName)) };
}

/** The function that is leased is itself served by another process. */
async function openServed(lab: Lab): Promise<Stage> {
  const path = lab.path('function.sock');
  await lab.server(['device', 'serve', 'mqdma', '--queues', '4', '--listen', path], path);
  const broker = lab.bench.start(['serve', '--json', '--function', `vfio-user:${path}`]);
  await broker.saying(/\n/);
  return { broker, ...(await join(lab, 'lease-served', ['--exclusive'])) };
}

async function copies({ qemu, queue }: Stage, seed: number): Promise<void> {
  const { source, destination } = guestMemory;
  const bytes = support.pattern(copyBytes, seed);
  await qemu.qtest.writeBytes(source, bytes);
  const { status } = await queue.copy(source, destination, copyBytes);
  assert.equal(status, completionStatus.OK);
  assert.deepEqual(await qemu.qtest.readBytes(destination, copyBytes), bytes);
}

export const leaseGroup = group<Stage>('lease', open, {
  'the lease shows as a device with its windows': async ({ pci }) => {
    assert.equal(await pci.read32(0), ((mqdma.deviceId << 16) | mqdma.vendorId) >>> 0);
    const windows = await windowsOf(pci);
    assert.deepEqual(windows.map(({ name }) => name).sort(), ['queue', 'status']);
    for (const { region, offsetBytes, lengthBytes } of windows) {
      assert.ok(offsetBytes + lengthBytes <= pci.bar(region).lengthBytes);
    }
    assert.equal(await pci.msixCount(), 1);
  },

  'it is an orphan lease, active since memory space was enabled': async ({ id }, lab) => {
    const row = (await leases(lab)).find((each) => each.id === id);
    assert.equal(row?.state, 'active');
    assert.equal(row?.revocation, 'orphan');
  },

  'a guest driver sets up the queue, and completions land in guest memory': async (stage) => {
    const { queue, tap } = stage;
    assert.ok(tap.of(VFIO_USER_DMA_MAP, 'client').some(({ fdCount }) => fdCount === 1));
    await queue.connect();
    assert.equal((await queue.nop()).status, completionStatus.OK);
    await copies(stage, 1);
    for (let count = 0; count < 40; count += 1) await queue.nop();
  },

  'its interrupt reaches the guest': async ({ pci, qemu, queue }) => {
    await qemu.qtest.write32(guestMemory.msix, 0);
    await pci.setMsixVector(0, { address: guestMemory.msix, data: 0x1ea5e });
    await pci.enableMsix();
    await queue.arm(1);
    await queue.nop();
    await support.memoryBecomes(qemu.qtest, guestMemory.msix, 0x1ea5e);
  },

  'stores to the read-only window hurt nobody': async ({ pci, qemu, queue }) => {
    const status = (await windowsOf(pci)).find(({ name }) => name === 'status');
    assert.equal(status?.access, 'read');
    await qemu.qtest.write32(pci.at(status.region, status.offsetBytes), 0);
    assert.equal(await queue.status('STATE'), ringState.CONNECTED);
    assert.equal((await queue.nop()).status, completionStatus.OK);
  },

  'the guest’s other memory is out of reach': async ({ queue, qemu }) => {
    const beyond = guestMemoryBytes + 0x10_0000;
    await queue.submit({
      opcode: opcode.COPY,
      source: guestMemory.source,
      destination: beyond,
      lengthBytes: 64,
    });
    await eventually(
      async () => (await queue.status('STATE')) === ringState.FAULTED,
      'the queue to stop',
    );
    assert.equal(await queue.status('FAULT_IOVA_LOW'), beyond);
    assert.ok(qemu.isRunning);
  },

  'a reset of the machine resets the slice': async (stage) => {
    const since = stage.tap.seen.length;
    await stage.qemu.qmp.command('system_reset');
    await eventually(() => stage.qemu.qmp.events.includes('RESET'), 'the reset to be done');
    assert.ok(stage.tap.of(VFIO_USER_DEVICE_RESET, 'server', since).length > 0);
    await support.bringUp(stage.pci);
    stage.queue = await queueOf(stage.pci);
    await stage.queue.connect();
    await copies(stage, 2);
    assert.deepEqual(support.errorReplies(stage.tap, since), []);
  },

  'revoked while it is mapped: QEMU lives, the windows are inert': async (stage, lab) => {
    const { qemu, pci, queue, acquirer, id } = stage;
    const before = support.pattern(64, 9);
    await qemu.qtest.writeBytes(guestMemory.destination, before);
    await lab.bench.run(['revoke', id, '--reason', 'maintenance']);
    assert.equal((await acquirer.finished).status, 6);
    const ticket = await queue.submit({
      opcode: opcode.FILL,
      destination: guestMemory.destination,
      lengthBytes: 64,
      pattern: 0x5555_5555,
    });
    await qemu.qtest.stepClock(1_000_000);
    assert.equal(await queue.completionOf(ticket), undefined);
    assert.deepEqual(await qemu.qtest.readBytes(guestMemory.destination, 64), before);
    await pci.read32(0);
    await pci.maskMsix(0, true);
    await pci.maskMsix(0, false);
    await qemu.qmp.command('query-pci');
    assert.ok(qemu.isRunning);
  },

  'the slice is free again, and the next QEMU works with it': async (stage, lab) => {
    await eventually(async () => (await freeSlices(lab)) === 4, 'the slice to be free');
    Object.assign(stage, await join(lab, 'lease-again'));
    await stage.queue.connect();
    await copies(stage, 3);
  },

  'a QEMU that quits ends the lease': async (stage, lab) => {
    assert.equal((await stage.qemu.quit()).status, 0);
    await stage.acquirer.finished;
    await eventually(async () => (await freeSlices(lab)) === 4, 'the slice to be free');
    assert.ok(!support.holdings(stage.broker.pid).some(support.isGuests));
  },

  'a QEMU that is killed ends the lease': async (stage, lab) => {
    Object.assign(stage, await join(lab, 'lease-killed'));
    await stage.queue.connect();
    stage.qemu.kill();
    await stage.acquirer.finished;
    await eventually(async () => (await freeSlices(lab)) === 4, 'the slice to be free');
    assert.ok(!support.holdings(stage.broker.pid).some(support.isGuests));
  },

  'QEMU outlives a broker that is killed': async (stage, lab) => {
    Object.assign(stage, await join(lab, 'lease-orphaned'));
    await stage.queue.connect();
    await stage.broker.stop('SIGKILL');
    await eventually(() => stage.tap.openCount === 0, 'the connection to end');
    await stage.queue.submit({ opcode: opcode.NOP });
    await stage.pci.read32(0);
    assert.equal((await stage.qemu.quit()).status, 0);
  },
});

export const servedLeaseGroup = group<Stage>('lease of a served function', openServed, {
  'a guest driver sets up the queue, and completions land in guest memory': async (stage) => {
    await stage.queue.connect();
    assert.equal((await stage.queue.nop()).status, completionStatus.OK);
    await copies(stage, 4);
  },

  'revoked while it is in use: QEMU lives, the slice is free again': async (stage, lab) => {
    await lab.bench.run(['revoke', stage.id, '--reason', 'maintenance']);
    assert.equal((await stage.acquirer.finished).status, 6);
    await stage.queue.submit({ opcode: opcode.NOP });
    await eventually(async () => (await freeSlices(lab)) === 4, 'the slice to be free');
    assert.equal((await stage.qemu.quit()).status, 0);
  },
});
