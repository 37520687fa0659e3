// VM monitors bind a vector only when their guest unmasks it: what it fired before is not lost.
import { expect, it } from 'vitest';
import { labOs, startLab } from '../testing/lab.js';
import { labRegister } from '../testing/lab-device.js';

const msix = 2;

it('fires a vector that was bound after the device fired it', async () => {
  await using lab = await startLab();
  const { client } = lab;
  const [first, second] = [labOs.events.createEventFd(), labOs.events.createEventFd()];
  await client.setIrqs({ action: 'bind', index: msix, start: 0, fds: [first.duplicate()] });
  await client.write32(0, labRegister.INTERRUPT, 1);
  expect(labOs.events.drain(first)).toBe(0n);
  await client.setIrqs({ action: 'bind', index: msix, start: 1, fds: [second.duplicate()] });
  expect(labOs.events.drain(second)).toBe(1n);
  await client.setIrqs({ action: 'bind', index: msix, start: 1, fds: [second.duplicate()] });
  expect(labOs.events.drain(second)).toBe(0n);
  first.close();
  second.close();
});

it('remembers nothing of the time when MSI-X was off', async () => {
  await using lab = await startLab();
  const { client } = lab;
  const target = labOs.events.createEventFd();
  await client.write32(0, labRegister.INTERRUPT, 0);
  await client.setIrqs({ action: 'bind', index: msix, start: 0, fds: [target.duplicate()] });
  expect(labOs.events.drain(target)).toBe(0n);
  await client.setIrqs({ action: 'disable', index: msix });
  await client.write32(0, labRegister.INTERRUPT, 0);
  await client.setIrqs({ action: 'bind', index: msix, start: 0, fds: [target.duplicate()] });
  expect(labOs.events.drain(target)).toBe(0n);
  target.close();
});

it('takes an eventfd for errors, of which it has none', async () => {
  await using lab = await startLab();
  const target = labOs.events.createEventFd();
  expect(await lab.client.irqInfo(3)).toEqual({ count: 1, flags: 1 });
  await lab.client.setIrqs({ action: 'bind', index: 3, start: 0, fds: [target.duplicate()] });
  await lab.client.write32(0, labRegister.INTERRUPT, 0);
  expect(labOs.events.drain(target)).toBe(0n);
  target.close();
});
