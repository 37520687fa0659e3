// What the IOMMU refuses the device arrives as a fault, by way of the kernel's log.
import { assert } from '../../../src/base/errors.js';
import { silentLogger } from '../../../src/base/log.js';
import { pause } from '../../../src/function/testing/counter-fixture.js';
import type { DmaFault } from '../../../src/function/types.js';
import {
  type KernelFaultLog,
  openKernelFaultLog,
} from '../../../src/function/vfio/kernel-fault-log.js';
import type { Os } from '../../../src/os/index.js';
import { eduAddress } from '../edu-device.js';
import { Edu } from '../fault-matrix/edu.js';
import type { InterruptCase } from './edu-interrupts.js';

const iova = 0x8_1000;
const lengthBytes = 64;
/** The interrupt that brings a refusal to the log may be late in an emulated machine. */
const faultMsMax = 15_000;

async function listen(os: Os, address: string, faults: DmaFault[]): Promise<KernelFaultLog> {
  const opened = await openKernelFaultLog({
    ...os,
    address,
    log: silentLogger,
    onFault: (fault) => faults.push(fault),
  });
  assert(opened.type === 'open', 'root reads the log');
  return opened.faults;
}

export const faultLogCases: readonly InterruptCase[] = [
  {
    name: 'DMA of a device without an address space is a fault of it, and of no other',
    async run(device, os) {
      const faults: DmaFault[] = [];
      const others: DmaFault[] = [];
      using _log = await listen(os, eduAddress, faults);
      using _other = await listen(os, '0000:00:06.0', others);
      const edu = new Edu(device.registers, os.clock);
      await edu.transfer({ direction: 'to memory', iova, bufferOffset: 0, lengthBytes });
      const endMs = os.clock.nowMs() + faultMsMax;
      while (faults.length === 0 && os.clock.nowMs() < endMs) await pause(os.clock, 20);
      const [fault] = faults;
      assert(fault !== undefined, 'no fault was told');
      const { pasid, access, reason } = fault;
      assert(
        pasid === undefined && fault.iova === iova && access === 'write',
        `a ${access} at 0x${fault.iova.toString(16)}, PASID ${pasid ?? 'none'}`,
      );
      assert(reason === 'not attached' || reason === 'not mapped', reason);
      assert(others.length === 0, 'another function has a fault');
    },
  },
];
