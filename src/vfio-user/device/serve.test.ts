// A served device, driven by our own client over real sockets, memfds and eventfds.
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../os/clock.js';
import { connectVfioUser } from '../client.js';
import { command, errnoOf, labOs, startLab } from '../testing/lab.js';
import { LabDevice, labId, labPage, labRegister, labStatusWord } from '../testing/lab-device.js';
import { until } from '../testing/world.js';
import { serveDevice } from './device-server.js';

const config = 7;
const msix = 2;

describe('a served device', () => {
  it('shows its regions, interrupts and configuration space', async () => {
    await using lab = await startLab();
    const { client } = lab;
    expect(await client.deviceInfo()).toMatchObject({ regionCount: 9, irqCount: 5, flags: 3 });
    expect(await client.regionInfo(0)).toMatchObject({ lengthBytes: 4096, flags: 3 });
    const frames = await client.regionInfo(2);
    expect(frames.areas).toEqual([
      { offsetBytes: 0, lengthBytes: 4096 },
      { offsetBytes: 0x2000, lengthBytes: 4096 },
    ]);
    frames.fd?.close();
    expect(await client.irqInfo(0)).toEqual({ count: 1, flags: 7 });
    expect(await client.irqInfo(1)).toEqual({ count: 4, flags: 3 });
    expect(await client.irqInfo(2)).toEqual({ count: 70, flags: 3 });
    expect(await client.read32(config, 0)).toBe(0x1c08_1b36);
    expect(await client.read32(0, labRegister.ID)).toBe(labId);
  });

  it('runs when a frame is written by message, and sleeps afterwards', async () => {
    await using lab = await startLab();
    const { client, device } = lab;
    await until(() => device.sleeps > 0, 'asleep');
    const { steps, sleeps } = device;
    await client.write32(2, labPage.target, 5);
    const count = () => client.read32(2, labPage.status + 4 * labStatusWord.COUNT);
    while ((await count()) !== 5);
    await until(() => device.sleeps > sleeps, 'asleep again');
    expect(device.steps).toBeGreaterThan(steps + 4);
  });

  it('moves memory that came with a descriptor', async () => {
    await using lab = await startLab();
    await lab.setCommand(command.MASTER);
    const { u8 } = await lab.map(0x10_0000, 0x4000);
    u8.fill(3);
    expect(await lab.dma('read', 0x10_0800, 0x1000)).toBe(0);
    expect(await lab.client.read32(0, labRegister.DMA_BYTE)).toBe(3 * 0x1000);
    await lab.client.write32(0, labRegister.DMA_BYTE, 9);
    expect(await lab.dma('write', 0x10_0fff, 2)).toBe(0);
    expect([...u8.subarray(0xffe, 0x1002)]).toEqual([3, 9, 9, 3]);
  });

  it('fires MSI-X vectors', async () => {
    await using lab = await startLab();
    const target = labOs.events.createEventFd();
    await lab.client.setIrqs({ action: 'bind', index: msix, start: 69, fds: [target.duplicate()] });
    await lab.client.write32(0, labRegister.INTERRUPT, 69);
    expect(labOs.events.drain(target)).toBe(1n);
    target.close();
  });

  it('listens on a path', async () => {
    const path = `/tmp/lessor-lab-${process.pid}.sock`;
    await using server = await serveDevice(new LabDevice(), { path });
    expect(server.path).toBe(path);
    const client = await connectVfioUser(labOs.sockets.connect(path), { clock: systemClock });
    expect(await client.read32(0, labRegister.ID)).toBe(labId);
    client.close();
    expect(await errnoOf(client.read32(0, 0))).toBe('EPIPE');
  });
});
