// INTx: one signal per interrupt that is served, and no storm of one that is not.
import { assert } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { silentLogger } from '../../../src/base/log.js';
import { pause } from '../../../src/function/testing/counter-fixture.js';
import { openInterrupts, type VfioInterrupts } from '../../../src/function/vfio/interrupts.js';
import type { Os } from '../../../src/os/index.js';
import { type EduDevice, expectSilence, type InterruptCase, signalsOf } from './edu-interrupts.js';

const stormMs = 1000;

async function open(device: EduDevice, os: Os): Promise<VfioInterrupts> {
  const interrupts = await openInterrupts(device, { ...os, log: silentLogger }, ['intx']);
  assert(interrupts.kind === 'intx' && interrupts.vectorCount === 1, 'EDU has INTx');
  return interrupts;
}

export const lineCases: readonly InterruptCase[] = [
  {
    name: 'INTx rings for each interrupt that is acknowledged, and nobody after the unbind',
    async run(device, os) {
      await using interrupts = await open(device, os);
      using own = os.events.createEventFd();
      await interrupts.bind(0, own.duplicate());
      for (let time = 0; time < 5; time += 1) {
        device.raise();
        await signalsOf(os, own);
        device.acknowledge();
        await pause(os.clock, limits.intxPauseMsMax * 2);
        os.events.drain(own);
        await expectSilence(os, own);
      }
      await interrupts.bind(0, undefined);
      device.raise();
      await expectSilence(os, own);
    },
  },
  {
    name: 'INTx that was asserted while nobody was bound is told to who binds',
    async run(device, os) {
      await using interrupts = await open(device, os);
      using own = os.events.createEventFd();
      device.raise();
      await pause(os.clock, 100);
      const before = device.callCount;
      await pause(os.clock, 100);
      assert(device.callCount === before, 'a line of nobody is left alone');
      await interrupts.bind(0, own.duplicate());
      await signalsOf(os, own);
    },
  },
  {
    name: 'INTx that is never acknowledged is no storm, and works when it is at last',
    async run(device, os) {
      await using interrupts = await open(device, os);
      using own = os.events.createEventFd();
      await interrupts.bind(0, own.duplicate());
      const before = device.callCount;
      device.raise();
      await pause(os.clock, stormMs);
      const unmasks = device.callCount - before;
      const most = Math.log2(limits.intxPauseMsMax) + 2 + stormMs / limits.intxPauseMsMax;
      assert(unmasks > 3 && unmasks <= most, `${unmasks} unmasks, at most ${most}`);
      device.acknowledge();
      await pause(os.clock, limits.intxPauseMsMax * 2);
      os.events.drain(own);
      await expectSilence(os, own);
      device.raise();
      await signalsOf(os, own);
    },
  },
];
