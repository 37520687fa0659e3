// What a transfer by message may still do when the world changed under it.
import { expect, it } from 'vitest';
import { command, createBuffer, labOs, startLab } from '../testing/lab.js';
import { LabDevice, labPage } from '../testing/lab-device.js';
import { until } from '../testing/world.js';
import { ServedDevice } from './served-device.js';

const page = 4096;

it('reaches nothing of the next client', async () => {
  const device = new LabDevice();
  using served = new ServedDevice(device, {
    os: labOs,
    name: 'bus',
    dma: 'direct',
    arenaBytes: 2 ** 30,
    idleSpinMs: 0,
    onBug: () => {},
  });
  const rights = { readable: true, writable: true, offsetBytes: 0n, lengthBytes: BigInt(page) };
  const master = Uint8Array.of(command.MASTER);
  const placed = createBuffer(page);
  const dmaRead = () => Promise.resolve(new Uint8Array(0));
  const connect = async (dmaWrite: () => Promise<void>) => {
    served.opened({ dmaRead, dmaWrite });
    served.dmaMap({ iova: 0n, ...rights });
    served.dmaMap({ iova: BigInt(page), ...rights, fd: placed.fd.duplicate() });
    await served.write(7, 4, master);
  };
  let later = 0;
  await connect(async () => {
    await served.closed();
    await connect(async () => {
      later += 1;
    });
  });
  const fault = await device.bus!.write(undefined, 0, new Uint8Array(2 * page).fill(1));
  expect(fault).toEqual({ iova: page, access: 'write', reason: 'not attached' });
  expect([placed.u8[0], later]).toEqual([0, 0]);
  expect(await device.bus!.write(undefined, 0, new Uint8Array(2 * page).fill(2))).toBeUndefined();
  expect([placed.u8[0], later]).toEqual([2, 1]);
  placed.fd.close();
});

it('finds memory gone that the device touched by itself, after the step', async () => {
  await using lab = await startLab();
  await lab.setCommand(command.MASTER);
  const buffer = await lab.map(0, page);
  const direct = lab.device.bus!.direct!;
  const place = direct.translate(undefined, 0, 'read');
  labOs.memory.truncate(buffer.fd, 0);
  const faults = direct.faultCount();
  expect(direct.u8[place]).toBe(0);
  expect(direct.faultCount()).toBe(faults + 1);
  await lab.client.write32(2, labPage.target, 1);
  await until(() => direct.translate(undefined, 0, 'read') < 0, 'not reachable');
  buffer.fd.close();
});
