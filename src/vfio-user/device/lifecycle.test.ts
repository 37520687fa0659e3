// One client after the other, however each of them goes; many devices in one process; the end.
import { describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import { command, errnoOf, labOs, startLab } from '../testing/lab.js';
import {
  LabDevice,
  labDma,
  labId,
  labManner,
  labPage,
  labRegister,
} from '../testing/lab-device.js';
import { ManualClock } from '../testing/manual-clock.js';
import { RawPeer } from '../testing/raw-peer.js';
import { turns, until } from '../testing/world.js';
import { serveDevice } from './device-server.js';

const config = 7;
const page = 4096;

/** Open files but those of the event loop and of what is shared by the process. */
function openFiles(): string[] {
  const links = [...openDescriptors().values()];
  return links.filter((link) => /memfd:lessor-(frames|test)|eventfd|socket/.test(link)).sort();
}

describe('a client that is gone', () => {
  it('leaves the device as it is, without anything that was its own', async () => {
    await using lab = await startLab();
    const { client } = lab;
    await client.write32(0, labRegister.STORAGE, 0x1234);
    await client.write32(2, labPage.target + 8, 42);
    await lab.setCommand(command.MASTER | command.INTX_DISABLE);
    await client.write32(config, 0x10, 0xfeb0_0000);
    await client.write32(4, 12, 1);
    await lab.map(0, page);
    const target = labOs.events.createEventFd();
    await client.setIrqs({ action: 'bind', index: 2, start: 0, fds: [target.duplicate()] });
    await client.write32(0, labRegister.PIN, 1);
    client.close();
    const next = await lab.connect();
    expect(await next.read32(0, labRegister.STORAGE)).toBe(0x1234);
    expect(await next.read32(2, labPage.target + 8)).toBe(42);
    expect(await next.read16(config, 4)).toBe(0);
    expect(await next.read32(config, 0x10)).toBe(0);
    expect(await next.read32(4, 12)).toBe(0);
    // The pin is the device's.
    expect(await next.read16(config, 6)).toBe(0x18);
    await next.write32(0, labRegister.INTERRUPT, 0);
    expect(labOs.events.drain(target)).toBe(0n);
    target.close();
    await next.write16(config, 4, command.MASTER);
    await next.write64(0, labRegister.DMA_IOVA, 0n);
    await next.write32(0, labRegister.DMA_LENGTH, 4);
    await next.write32(0, labRegister.DMA_COMMAND, labDma.read);
    expect(await next.read32(0, labRegister.DMA_RESULT)).toBe(2);
    expect(lab.device.resets).toBe(0);
  });

  it('keeps frames mapped that reach nobody any more', async () => {
    await using lab = await startLab();
    const { fd, lengthBytes } = await lab.client.regionInfo(2);
    using mapping = labOs.memory.map(fd!, { offsetBytes: 0, lengthBytes, writable: true });
    fd?.close();
    const words = new Uint32Array(mapping.buffer);
    words[50] = 1;
    lab.client.close();
    const next = await lab.connect();
    words[50] = 2;
    expect(await next.read32(2, 200)).toBe(1);
    words[0] = 9;
    await next.write32(2, labPage.target, 3);
    while ((await next.read32(2, labPage.status)) !== 3);
    expect(words[labPage.status / 4]).toBe(0);
  });

  it('may go in the middle of anything', async () => {
    await using lab = await startLab();
    const files = openFiles();
    for (let round = 0; round < 20; round++) {
      const client = round === 0 ? lab.client : await lab.connect();
      const bytes = new Uint8Array(page);
      lab.table.add({ iova: 0n, bytes });
      await client.dmaMap({
        iova: 0n,
        lengthBytes: BigInt(page),
        offsetBytes: 0n,
        readable: true,
        writable: true,
      });
      await client.write16(config, 4, command.MASTER);
      await client.write32(0, labRegister.DMA_LENGTH, page);
      const late = [
        client.write32(0, labRegister.DMA_COMMAND, labDma.read),
        client.write32(0, labRegister.LATER, 10),
        client.read32(0, labRegister.LATER),
        client.dmaUnmap('all'),
        client.setIrqs({ action: 'bind', index: 2, start: 0, fds: [labOs.events.createEventFd()] }),
      ].map(errnoOf);
      await turns(round % 7);
      client.close();
      await Promise.all(late);
      lab.table.remove(0n);
    }
    const last = await lab.connect();
    expect(await last.read32(0, labRegister.ID)).toBe(labId);
    await until(() => openFiles().length <= files.length, 'nothing left open');
  });

  it('does not hold up the next by a handler that never ends', async () => {
    await using lab = await startLab();
    const stuck = errnoOf(lab.client.write32(0, labRegister.MANNERS, labManner.never));
    await turns();
    lab.client.close();
    expect(await stuck).toBe('ECANCELED');
    const next = await lab.connect();
    expect(await next.read32(0, labRegister.ID)).toBe(labId);
  });
});

describe('clients that come while there is one', () => {
  it('wait for their turn, in order', async () => {
    await using lab = await startLab();
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (number) => {
      const client = await lab.connect();
      order.push(number);
      client.close();
    });
    await turns(20);
    expect([order, lab.server.waitingCount]).toEqual([[], 3]);
    lab.client.close();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  it('are as many as the limit', async () => {
    await using lab = await startLab();
    for (let index = 0; index < limits.vfioUserWaitingClientsMax; index++) lab.attachRaw();
    expect(lab.server.waitingCount).toBe(limits.vfioUserWaitingClientsMax);
    const surplus = new RawPeer(lab.attachRaw());
    await until(() => surplus.ended, 'closed at once');
    expect(lab.server.waitingCount).toBe(limits.vfioUserWaitingClientsMax);
    expect(await lab.client.read32(0, labRegister.ID)).toBe(labId);
  });

  it('are dropped when they do not negotiate in time', async () => {
    const clock = new ManualClock();
    const server = await serveDevice(new LabDevice(), { os: { ...labOs, clock } });
    const [near, far] = labOs.sockets.pair();
    server.attach(labOs.sockets.stream(near));
    const silent = new RawPeer(labOs.sockets.stream(far));
    const [here, there] = labOs.sockets.pair();
    server.attach(labOs.sockets.stream(here));
    const good = new RawPeer(labOs.sockets.stream(there));
    clock.advance(limits.vfioUserNegotiationMsMax - 1);
    await turns();
    expect([silent.ended, server.hasClient]).toEqual([false, false]);
    clock.advance(1);
    await until(() => silent.ended, 'dropped');
    await good.negotiate();
    clock.advance(limits.vfioUserNegotiationMsMax * 2);
    await turns();
    expect([good.ended, server.hasClient]).toEqual([false, true]);
    good.close();
    await server[Symbol.asyncDispose]();
  });
});

describe('the end of a server', () => {
  it('closes everything', async () => {
    const files = openFiles();
    const lab = await startLab();
    await lab.map(0, page).then(({ fd }) => fd.close());
    const fds = [labOs.events.createEventFd()];
    await lab.client.setIrqs({ action: 'bind', index: 2, start: 0, fds });
    const waiting = new RawPeer(lab.attachRaw());
    await lab.server[Symbol.asyncDispose]();
    await until(() => waiting.ended && !lab.client.isOpen, 'clients were told');
    const { steps } = lab.device;
    await turns();
    expect(lab.device.steps).toBe(steps);
    lab.server.attach(labOs.sockets.stream(labOs.sockets.pair()[0]));
    expect(lab.server.waitingCount).toBe(0);
    await lab[Symbol.asyncDispose]();
    await until(() => openFiles().length <= files.length + 1, 'nothing left open');
  });

  it.each([
    ['a handler', labManner.bug],
    ['a step', labManner.bugInStep],
  ])('comes with a bug of the device in %s, which is told', async (_, manner) => {
    const bugs: unknown[] = [];
    await using other = await startLab();
    await using lab = await startLab({ onBug: (error) => bugs.push(error) });
    await errnoOf(lab.client.write32(0, labRegister.MANNERS, manner));
    await until(() => bugs.length > 0 && !lab.client.isOpen, 'the end');
    expect(String(bugs[0])).toMatch(/a bug of the device/);
    expect(await other.client.read32(0, labRegister.ID)).toBe(labId);
  });

  it.each([
    [{ arenaBytes: -1 }],
    [{ arenaBytes: 5 * 2 ** 30 }],
    [{ idleSpinMicros: 0.5 }],
    [{ idleSpinMicros: 2_000_000 }],
    [{ path: `/tmp/${'long'.repeat(40)}` }],
  ])('is its beginning with options such as %o', async (options) => {
    const files = openFiles();
    const serving = serveDevice(new LabDevice(), { ...options, os: labOs });
    await expect(serving).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(openFiles()).toEqual(files);
  });
});
