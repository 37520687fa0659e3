// MSI: the kernel's handler signals the eventfd that is bound, whatever becomes of the device.
import { assert } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { openInterrupts, type VfioInterrupts } from '../../../src/function/vfio/interrupts.js';
import { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import { loadNative } from '../../../src/os/native.js';
import { type EduDevice, expectSilence, type InterruptCase, signalsOf } from './edu-interrupts.js';

const EFD_CLOEXEC = 0o2000000;
const fullCounter = 0xffff_ffff_ffff_fffen;

function open(device: EduDevice, os: Os): Promise<VfioInterrupts> {
  return openInterrupts(device, { ...os, log: silentLogger }, ['msi-x', 'msi']);
}

export const messageCases: readonly InterruptCase[] = [
  {
    name: 'MSI rings who is bound, and nobody after the unbind',
    async run(device, os) {
      await using interrupts = await open(device, os);
      assert(interrupts.kind === 'msi', `EDU has MSI, not ${interrupts.kind}`);
      using own = os.events.createEventFd();
      device.raise();
      await interrupts.bind(0, own.duplicate());
      await expectSilence(os, own);
      device.raise();
      assert((await signalsOf(os, own)) === 1, 'one message, one signal');
      await interrupts.bind(0, undefined);
      device.raise();
      await expectSilence(os, own);
    },
  },
  {
    name: 'MSI goes to the last who was bound',
    async run(device, os) {
      await using interrupts = await open(device, os);
      using first = os.events.createEventFd();
      using second = os.events.createEventFd();
      await interrupts.bind(0, first.duplicate());
      await interrupts.bind(0, second.duplicate());
      device.raise();
      await signalsOf(os, second);
      await expectSilence(os, first);
    },
  },
  {
    name: 'MSI to a full eventfd that blocks holds up nobody',
    async run(device, os) {
      await using interrupts = await open(device, os);
      const native = loadNative();
      using full = new Fd(native, native.eventFd(0, EFD_CLOEXEC));
      os.ioctl.write(full, new Uint8Array(new BigUint64Array([fullCounter]).buffer));
      await interrupts.bind(0, full.duplicate());
      for (let time = 0; time < 10; time += 1) device.raise();
      using own = os.events.createEventFd();
      await interrupts.bind(0, own.duplicate());
      device.raise();
      await signalsOf(os, own);
    },
  },
];
