// The EDU device, which has no page to map: posted writes, MSI, DMA by descriptor and by message.
import assert from 'node:assert/strict';
import { edu, eduCommand, eduRegister, eduStatus } from '../../../src/device/edu/registers.js';
import {
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
} from '../../../src/uapi/vfio-user.js';
import { group } from '../case.js';
import { eventually, type Lab } from '../lab.js';
import { capabilityMsi, commandMemory, PciSlot } from '../pci.js';
import { guestMemoryBytes, type Qemu, type QemuOptions } from '../qemu/qemu.js';
import type { Tap } from '../tap.js';
import * as support from './support.js';

const { guestMemory } = support;
const slot = 5;
const transferBytes = 1024;

interface Stage {
  readonly tap: Tap;
  readonly qemu: Qemu;
  readonly pci: PciSlot;
}

async function open(lab: Lab, name: string, memory: QemuOptions['memory']): Promise<Stage> {
  const path = lab.path('edu.sock');
  await lab.server(['device', 'serve', 'edu', '--listen', path], path);
  const tap = lab.tap(name, path);
  const qemu = await lab.qemu({ memory, devices: { [slot]: tap.path } });
  const pci = new PciSlot(qemu.qtest, slot);
  await support.bringUp(pci);
  return { tap, qemu, pci };
}

async function write(pci: PciSlot, register: number, value: number): Promise<void> {
  await pci.qtest.write32(pci.at(edu.registerRegion, register), value);
}

function read(pci: PciSlot, register: number): Promise<number> {
  return pci.qtest.read32(pci.at(edu.registerRegion, register));
}

async function writeWide(pci: PciSlot, register: number, value: bigint): Promise<void> {
  await pci.qtest.write64(pci.at(edu.registerRegion, register), value);
}

async function dma(pci: PciSlot, source: number, destination: number, command: bigint) {
  await writeWide(pci, eduRegister.DMA_SOURCE, BigInt(source));
  await writeWide(pci, eduRegister.DMA_DESTINATION, BigInt(destination));
  await writeWide(pci, eduRegister.DMA_COUNT, BigInt(transferBytes));
  await writeWide(pci, eduRegister.DMA_COMMAND, eduCommand.START | command);
  await eventually(
    async () => ((await read(pci, eduRegister.DMA_COMMAND)) & Number(eduCommand.START)) === 0,
    'the transfer to end',
  );
}

/** Into the device and out again, to another place. */
async function roundTrip({ pci, qemu }: Stage, seed: number): Promise<void> {
  const { qtest } = qemu;
  const bytes = support.pattern(transferBytes, seed);
  await qtest.writeBytes(guestMemory.source, bytes);
  await qtest.writeBytes(guestMemory.destination, new Uint8Array(transferBytes + 4));
  await dma(pci, guestMemory.source, edu.bufferAt, 0n);
  await dma(pci, edu.bufferAt, guestMemory.destination, eduCommand.TO_MEMORY);
  const arrived = await qtest.readBytes(guestMemory.destination, transferBytes + 4);
  assert.deepEqual(arrived.subarray(0, transferBytes), bytes);
  assert.deepEqual(arrived.subarray(transferBytes), new Uint8Array(4), 'bytes past the end');
}

export const eduGroup = group<Stage>('edu', (lab) => open(lab, 'edu', 'shared'), {
  'identification and BAR': async ({ pci }) => {
    assert.equal(await pci.read32(0), ((edu.deviceId << 16) | edu.vendorId) >>> 0);
    assert.equal(pci.bar(edu.registerRegion).lengthBytes, edu.registerBytes);
    assert.equal(await read(pci, eduRegister.IDENTIFICATION), edu.identification);
    await pci.capability(capabilityMsi);
  },

  'writes are posted and keep their order': async ({ pci, tap }) => {
    const since = tap.seen.length;
    for (let value = 1; value <= 50; value += 1) {
      await write(pci, eduRegister.LIVENESS, value);
      assert.equal(await read(pci, eduRegister.LIVENESS), ~value >>> 0);
    }
    const writes = support.accesses(tap, 'write', edu.registerRegion, since);
    assert.equal(writes.length, 50);
    assert.ok(writes.every(({ isPosted }) => isPosted));
  },

  'writes that pile up come several in a message, in order': async ({ pci, tap }) => {
    const since = tap.seen.length;
    const last = 3000;
    tap.hold();
    for (let value = 1; value <= last; value += 1) await write(pci, eduRegister.LIVENESS, value);
    tap.letGo();
    assert.equal(await read(pci, eduRegister.LIVENESS), ~last >>> 0);
    const several = tap.of(VFIO_USER_REGION_WRITE_MULTI, 'client', since);
    assert.ok(several.length > 0, 'QEMU sent none');
    assert.deepEqual(support.errorReplies(tap, since), []);
  },

  'a factorial': async ({ pci }) => {
    await write(pci, eduRegister.FACTORIAL, 10);
    await eventually(
      async () => ((await read(pci, eduRegister.STATUS)) & eduStatus.COMPUTING) === 0,
      'the factorial',
    );
    assert.equal(await read(pci, eduRegister.FACTORIAL), 3_628_800);
  },

  'INTx, acknowledged': async ({ pci, qemu }) => {
    const { qtest } = qemu;
    await qtest.interceptInterrupts('ioapic');
    await write(pci, eduRegister.INTERRUPT_RAISE, 0x10);
    await eventually(() => qtest.raisedLines.length === 1, 'an interrupt line');
    assert.equal(await read(pci, eduRegister.INTERRUPT_STATUS), 0x10);
    await write(pci, eduRegister.INTERRUPT_ACKNOWLEDGE, 0x10);
    for (let round = 0; round < 20; round += 1) await read(pci, eduRegister.IDENTIFICATION);
    assert.deepEqual(qtest.raisedLines, []);
  },

  'MSI writes to the guest’s memory': async ({ pci, qemu }) => {
    await qemu.qtest.write32(guestMemory.msi, 0);
    await pci.enableMsi({ address: guestMemory.msi, data: 0x4d53 });
    await write(pci, eduRegister.INTERRUPT_RAISE, 1);
    await support.memoryBecomes(qemu.qtest, guestMemory.msi, 0x4d53);
    assert.deepEqual(qemu.qtest.raisedLines, [], 'INTx beside MSI');
    await write(pci, eduRegister.INTERRUPT_ACKNOWLEDGE, 1);
  },

  'DMA both ways by descriptor': async (stage) => {
    const { tap } = stage;
    assert.ok(tap.of(VFIO_USER_DMA_MAP, 'client').some(({ fdCount }) => fdCount === 1));
    await roundTrip(stage, 1);
    assert.deepEqual(tap.of(VFIO_USER_DMA_READ, 'server'), []);
    assert.deepEqual(tap.of(VFIO_USER_DMA_WRITE, 'server'), []);
  },

  'DMA ends with an MSI': async ({ pci, qemu }) => {
    await qemu.qtest.write32(guestMemory.msi, 0);
    await dma(pci, guestMemory.source, edu.bufferAt, eduCommand.INTERRUPT);
    await support.memoryBecomes(qemu.qtest, guestMemory.msi, 0x4d53);
    assert.equal(await read(pci, eduRegister.INTERRUPT_STATUS), 0x100);
    await write(pci, eduRegister.INTERRUPT_ACKNOWLEDGE, 0x100);
  },

  'without bus mastering nothing moves': async ({ pci, qemu }) => {
    const before = support.pattern(transferBytes, 8);
    await qemu.qtest.writeBytes(guestMemory.destination, before);
    await pci.command(commandMemory);
    await dma(pci, edu.bufferAt, guestMemory.destination, eduCommand.TO_MEMORY);
    assert.deepEqual(await qemu.qtest.readBytes(guestMemory.destination, transferBytes), before);
    await pci.command(support.commandOn);
  },

  'accesses of other widths hurt nobody': async ({ pci, qemu, tap }) => {
    const register = pci.at(edu.registerRegion, eduRegister.IDENTIFICATION);
    const since = tap.seen.length;
    await qemu.qtest.read8(register + 1);
    await qemu.qtest.read16(register + 2);
    await qemu.qtest.read64(register);
    await qemu.qtest.write8(register, 0xff);
    await qemu.qtest.write16(register + 2, 0xffff);
    await qemu.qtest.read32(pci.at(edu.registerRegion, edu.registerBytes - 4));
    assert.equal(await read(pci, eduRegister.IDENTIFICATION), edu.identification);
    assert.ok(support.accesses(tap, 'read', edu.registerRegion, since).length >= 5);
  },

  'DMA to where no memory is moves nothing and hurts nobody': async (stage) => {
    await dma(stage.pci, guestMemoryBytes + 0x1000, edu.bufferAt, 0n);
    await dma(stage.pci, edu.bufferAt, guestMemoryBytes + 0x1000, eduCommand.TO_MEMORY);
    await roundTrip(stage, 2);
    assert.deepEqual(support.errorReplies(stage.tap), []);
  },
});

export const eduMessageGroup = group<Stage>(
  'edu, memory by message',
  (lab) => open(lab, 'edu-by-message', 'private'),
  {
    'DMA both ways by message': async (stage) => {
      const { tap } = stage;
      assert.ok(tap.of(VFIO_USER_DMA_MAP, 'client').every(({ fdCount }) => fdCount === 0));
      await roundTrip(stage, 3);
      assert.ok(tap.of(VFIO_USER_DMA_READ, 'client').length > 0, 'no reply to a DMA_READ');
      assert.ok(tap.of(VFIO_USER_DMA_WRITE, 'client').length > 0, 'no reply to a DMA_WRITE');
      assert.deepEqual(support.errorReplies(tap), []);
    },

    'a refused DMA by message moves nothing and hurts nobody': async (stage) => {
      await dma(stage.pci, guestMemoryBytes + 0x1000, edu.bufferAt, 0n);
      await dma(stage.pci, edu.bufferAt, guestMemoryBytes + 0x1000, eduCommand.TO_MEMORY);
      await roundTrip(stage, 4);
    },

    'registers answer while a transfer is under way': async ({ pci, tap }) => {
      const since = tap.seen.length;
      await writeWide(pci, eduRegister.DMA_SOURCE, BigInt(guestMemory.source));
      await writeWide(pci, eduRegister.DMA_DESTINATION, BigInt(edu.bufferAt));
      await writeWide(pci, eduRegister.DMA_COUNT, BigInt(transferBytes));
      await writeWide(pci, eduRegister.DMA_COMMAND, eduCommand.START);
      await eventually(async () => {
        assert.equal(await read(pci, eduRegister.IDENTIFICATION), edu.identification);
        return ((await read(pci, eduRegister.DMA_COMMAND)) & Number(eduCommand.START)) === 0;
      }, 'the transfer to end');
      assert.ok(tap.of(VFIO_USER_DMA_READ, 'client', since).length > 0);
    },
  },
);
