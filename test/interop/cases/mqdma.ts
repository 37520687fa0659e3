// The multi-queue DMA engine as a whole function: a guest driver sets up a queue in pages that it
// maps, and the rings are in guest memory, reached by descriptor or by message.
import assert from 'node:assert/strict';
import {
  completionStatus,
  control,
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePageOffset,
  ringState,
} from '../../../src/device/mqdma/datasheet.js';
import { VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE } from '../../../src/uapi/vfio-user.js';
import type { Running } from '../../support/lessor.js';
import { group } from '../case.js';
import { GuestQueue } from '../guest-queue.js';
import { eventually, type Lab } from '../lab.js';
import { PciSlot } from '../pci.js';
import { guestMemoryBytes, type Qemu, type QemuOptions } from '../qemu/qemu.js';
import type { Tap } from '../tap.js';
import * as support from './support.js';

const { guestMemory } = support;
const { controlRegion, queueRegion } = mqdma;
const slot = 6;
const queueIndex = 1;
const copyBytes = 10_000;

interface Stage {
  readonly server: Running;
  readonly tap: Tap;
  readonly qemu: Qemu;
  readonly pci: PciSlot;
  queue: GuestQueue;
}

/** What a guest's driver does first. */
async function setUpQueue(pci: PciSlot): Promise<GuestQueue> {
  const stride = await pci.qtest.read32(pci.at(controlRegion, control.PAGE_STRIDE));
  const registers = pci.at(controlRegion, queueControlOffset(queueIndex));
  await pci.qtest.write32(registers + queueControl.ENABLE, 1);
  const page = pci.at(queueRegion, queuePageOffset(queueIndex, stride));
  const places = { page, status: page + stride, rings: guestMemory.rings };
  const kick = (): Promise<void> => pci.qtest.write32(registers + queueControl.KICK, 1);
  return new GuestQueue(pci.qtest, places, kick);
}

async function open(
  lab: Lab,
  name: string,
  memory: QemuOptions['memory'],
  dma: 'direct' | 'message',
): Promise<Stage> {
  const path = lab.path('mqdma.sock');
  const words = ['device', 'serve', 'mqdma', '--dma', dma, '--listen', path];
  const server = await lab.server(words, path);
  const tap = lab.tap(name, path);
  const qemu = await lab.qemu({ memory, devices: { [slot]: tap.path } });
  const pci = new PciSlot(qemu.qtest, slot);
  await support.bringUp(pci);
  return { server, tap, qemu, pci, queue: await setUpQueue(pci) };
}

async function copies({ qemu, queue }: Stage, seed: number): Promise<void> {
  const { source, destination } = guestMemory;
  const bytes = support.pattern(copyBytes, seed);
  await qemu.qtest.writeBytes(source, bytes);
  const { status } = await queue.copy(source, destination, copyBytes);
  assert.equal(status, completionStatus.OK);
  assert.deepEqual(await qemu.qtest.readBytes(destination, copyBytes), bytes);
}

async function connectsAndWorks(stage: Stage): Promise<void> {
  await stage.queue.connect();
  assert.equal((await stage.queue.nop()).status, completionStatus.OK);
  await copies(stage, 1);
}

export const mqdmaGroup = group<Stage>('mqdma', (lab) => open(lab, 'mqdma', 'shared', 'direct'), {
  'identification and control registers by message': async ({ pci, tap }) => {
    assert.equal(await pci.read32(0), ((mqdma.deviceId << 16) | mqdma.vendorId) >>> 0);
    const since = tap.seen.length;
    assert.equal(await pci.qtest.read32(pci.at(controlRegion, control.ID)), mqdma.id);
    assert.equal(support.accesses(tap, 'read', controlRegion, since).length, 1);
  },

  'a queue is set up in a mapped page, works, and completes in guest memory': async (stage) => {
    const { tap } = stage;
    const since = tap.seen.length;
    await connectsAndWorks(stage);
    assert.deepEqual(support.accesses(tap, 'write', queueRegion, since), []);
    assert.deepEqual(tap.of(VFIO_USER_DMA_READ, 'server'), []);
  },

  'more descriptors than the ring has entries': async ({ queue }) => {
    for (let count = 0; count < 40; count += 1) {
      assert.equal((await queue.nop()).status, completionStatus.OK);
    }
  },

  'an armed queue interrupts by its own vector': async ({ pci, queue, qemu }) => {
    const target = guestMemory.msix;
    await qemu.qtest.writeBytes(target, new Uint8Array(64));
    const count = await pci.msixCount();
    for (let vector = 0; vector < Math.min(count, 4); vector += 1) {
      await pci.setMsixVector(vector, { address: target + vector * 4, data: 0x700 + vector });
    }
    await pci.enableMsix();
    await queue.arm(1);
    await queue.nop();
    await support.memoryBecomes(qemu.qtest, target + queueIndex * 4, 0x700 + queueIndex);
    assert.equal(await qemu.qtest.read32(target), 0, 'vector 0 fired too');
  },

  'a fault stops the queue and says where': async ({ queue, pci }) => {
    const nowhere = guestMemoryBytes + 0x10_0000;
    const source = guestMemory.source;
    const ticket = await queue.submit({
      opcode: opcode.COPY,
      source,
      destination: nowhere,
      lengthBytes: 64,
    });
    await eventually(
      async () => (await queue.status('STATE')) === ringState.FAULTED,
      'the queue to stop',
    );
    assert.equal(await queue.status('FAULT_IOVA_LOW'), nowhere);
    const done = await queue.completionOf(ticket);
    assert.ok(done === undefined || done.status === completionStatus.FAULT);
    const registers = pci.at(controlRegion, queueControlOffset(queueIndex));
    await pci.qtest.write32(registers + queueControl.RESET, 1);
  },

  'after a reset of the machine the queue is set up anew': async (stage) => {
    await stage.qemu.qmp.command('system_reset');
    await eventually(() => stage.qemu.qmp.events.includes('RESET'), 'the reset to be done');
    await support.bringUp(stage.pci);
    stage.queue = await setUpQueue(stage.pci);
    assert.equal(await stage.queue.status('STATE'), ringState.DISCONNECTED);
    await connectsAndWorks(stage);
  },
});

export const mqdmaMessageGroup = group<Stage>(
  'mqdma, memory by message',
  (lab) => open(lab, 'mqdma-by-message', 'private', 'message'),
  {
    'a nop and a copy with rings reached by message': async (stage) => {
      const { tap } = stage;
      await connectsAndWorks(stage);
      assert.ok(tap.of(VFIO_USER_DMA_READ, 'client').length > 0, 'no reply to a DMA_READ');
      assert.ok(tap.of(VFIO_USER_DMA_WRITE, 'client').length > 0, 'no reply to a DMA_WRITE');
      assert.deepEqual(support.errorReplies(tap), []);
    },
  },
);
