// Two devices in one machine, each with a server of its own: what befalls one leaves the other be.
import assert from 'node:assert/strict';
import { counter, counterRegister } from '../../../src/device/counter/registers.js';
import { edu, eduRegister } from '../../../src/device/edu/registers.js';
import type { Running } from '../../support/lessor.js';
import { group } from '../case.js';
import type { Lab } from '../lab.js';
import { PciSlot } from '../pci.js';
import type { Qemu } from '../qemu/qemu.js';
import * as support from './support.js';

const counterSlot = 4;
const eduSlot = 5;

interface Stage {
  readonly eduServer: Running;
  readonly qemu: Qemu;
  readonly counter: PciSlot;
  readonly edu: PciSlot;
}

async function open(lab: Lab): Promise<Stage> {
  const counterPath = lab.path('counter.sock');
  const eduPath = lab.path('edu.sock');
  await lab.server(['device', 'serve', 'counter', '--listen', counterPath], counterPath);
  const words = ['device', 'serve', 'edu', '--listen', eduPath];
  const eduServer = await lab.server(words, eduPath);
  const devices = { [counterSlot]: counterPath, [eduSlot]: eduPath };
  const qemu = await lab.qemu({ memory: 'shared', devices });
  const pcis = [counterSlot, eduSlot].map((slot) => new PciSlot(qemu.qtest, slot));
  for (const pci of pcis) await support.bringUp(pci);
  const [first, second] = pcis as [PciSlot, PciSlot];
  return { eduServer, qemu, counter: first, edu: second };
}

async function counts(pci: PciSlot, value: number): Promise<void> {
  const register = pci.at(counter.registerRegion, counterRegister.COUNT);
  await pci.qtest.write32(register, value);
  assert.equal(await pci.qtest.read32(register), value);
}

export const neighboursGroup = group<Stage>('neighbours', open, {
  'both work': async (stage) => {
    await counts(stage.counter, 12);
    const register = stage.edu.at(edu.registerRegion, eduRegister.IDENTIFICATION);
    assert.equal(await stage.edu.qtest.read32(register), edu.identification);
  },

  'one works while the server of the other hangs': async (stage) => {
    stage.eduServer.kill('SIGSTOP');
    const liveness = stage.edu.at(edu.registerRegion, eduRegister.LIVENESS);
    for (let value = 0; value < 100; value += 1) await stage.qemu.qtest.write32(liveness, value);
    await counts(stage.counter, 13);
    stage.eduServer.kill('SIGCONT');
    assert.equal(await stage.qemu.qtest.read32(liveness), ~99 >>> 0);
  },

  'one works when the server of the other is dead': async (stage) => {
    await stage.eduServer.stop('SIGKILL');
    await stage.edu.qtest.read32(stage.edu.at(edu.registerRegion, eduRegister.LIVENESS));
    await counts(stage.counter, 14);
    assert.equal((await stage.qemu.quit()).status, 0);
  },
});
