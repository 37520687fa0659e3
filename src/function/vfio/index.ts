// The vfio underside: a function that vfio-pci has, behind the IOMMU of this machine.
import { type Logger, silentLogger } from '../../base/log.js';
import type { HelperPool } from '../../os/helper-types.js';
import { startIoctlThread } from '../../os/ioctl-thread.js';
import type { IoctlThread } from '../../os/ioctl-thread-types.js';
import type { Os } from '../../os/os-types.js';
import { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from '../../uapi/vfio.js';
import type { PciFunction } from '../types.js';
import { disableMaster, enableFunction, readConfig } from './config-space.js';
import { readDeviceInfo } from './device-info.js';
import type { DmaBufFeatures } from './dma-buf-features.js';
import { probeDmaBufs } from './dma-buf-probe.js';
import { describeFunction } from './facts.js';
import { openInterrupts } from './interrupts.js';
import { watchIrq } from './interrupts-set.js';
import { openKernelFaultLog } from './kernel-fault-log.js';
import { type OpenDeviceOptions, openDevice, type Roots } from './open-device.js';
import type { OpenedDevice } from './opened-device.js';
import { parsePciAddress } from './pci-address.js';
import { VfioRegisters } from './registers.js';
import { Teardown } from './teardown.js';
import type { VfioDevice } from './types.js';
import { VfioFunction } from './vfio-function.js';
import { VfioWindows } from './windows.js';

/** What such a function needs of the operating system. */
export type VfioFunctionOs = Pick<Os, 'memory' | 'events' | 'clock' | 'ioctl'>;

export interface VfioFunctionOptions extends Roots, Pick<OpenDeviceOptions, 'way'> {
  readonly os: VfioFunctionOs;
  /** For what is done to descriptors that clients hold. Not owned. */
  readonly helpers: HelperPool;
  /** `0000:00:05.0`, or `00:05.0` in domain 0. */
  readonly address: string;
  /** Name of the function. */
  readonly name: string;
  readonly log?: Logger;
  /** Number of the function's life so far. Default 1. */
  readonly epoch?: number;
  /** Unassigned features of the kernel that may be tried, for windows. Default `look`. */
  readonly features?: DmaBufFeatures;
  /** Threads of its calls, where they are not the usual ones. */
  readonly startIoctls?: typeof startIoctlThread;
  readonly startSpaces?: NonNullable<OpenDeviceOptions['startThread']>;
}

async function bringUp(
  options: VfioFunctionOptions,
  address: string,
  opened: OpenedDevice,
  thread: IoctlThread,
  teardown: Teardown,
): Promise<VfioFunction> {
  const { os, name, log = silentLogger } = options;
  const call: VfioDevice['call'] = (...given) => thread.call(...given);
  const { fd, spaces } = opened;
  const device = { address, os: os.ioctl, fd, call, ...(await readDeviceInfo(call)) };
  const config = readConfig(device);
  enableFunction(device);
  teardown.add('bus master', () => disableMaster(device));
  const offer = await probeDmaBufs(device, os.memory, options.features);
  let fn: VfioFunction | undefined;
  const registers = new VfioRegisters(device, os.memory, () => fn?.checkAlive());
  teardown.add('registers', () => registers[Symbol.dispose]());
  const windows = new VfioWindows({
    device,
    offer,
    access: registers,
    pageBytes: os.memory.pageBytes,
    importable: opened.way === 'iommufd',
  });
  teardown.add('windows', () => windows.disposeAll());
  const { events, clock } = os;
  const interrupts = await openInterrupts(device, { events, clock, log });
  teardown.add('interrupts', () => interrupts[Symbol.asyncDispose]());
  const info = describeFunction({
    name,
    regions: device.regions,
    config,
    iommu: spaces.facts,
    reservedIovas: opened.reservedIovas,
    vectorCount: interrupts.vectorCount,
    offer,
    epoch: options.epoch ?? 1,
  });
  const parts = { opened, device, registers, windows, interrupts, teardown, info, clock, log };
  fn = new VfioFunction(parts);
  const made = fn;
  const watch = async (index: number, listener: () => void): Promise<void> => {
    if ((device.irqs.get(index)?.count ?? 0) === 0) return;
    const watched = await watchIrq(device, events, index, listener);
    teardown.add(`interrupt ${index}`, () => watched[Symbol.asyncDispose]());
  };
  const faults = await openKernelFaultLog({
    ioctl: os.ioctl,
    events,
    log,
    address,
    onFault: (fault) => made.reportFault(fault),
    path: `${options.dev ?? '/dev'}/kmsg`,
  });
  if (faults.type === 'open') teardown.add('faults', () => faults.faults[Symbol.dispose]());
  else log.info('refused DMA is not seen', { name, reason: faults.reason });
  await watch(VFIO_PCI_ERR_IRQ_INDEX, () => made.reportError());
  await watch(VFIO_PCI_REQ_IRQ_INDEX, () => made.lose('the host wants the device back'));
  return fn;
}

/**
 * Opens a function of this machine that vfio-pci has. The caller disposes it.
 *
 * It is closed, and `gone`, when the host asks for it (an unbind), when the device does not answer
 * any more, and when a reset is not answered.
 *
 * @throws LessorError `INVALID_ARGUMENT` for what is no address, `FUNCTION_GONE` where there is no
 *   function, `FUNCTION_UNBOUND`, `FUNCTION_BUSY`, `GROUP_NOT_VIABLE`, `DENIED`, `UNSUPPORTED`;
 *   ProtocolError for a device that contradicts itself; OsError
 */
export async function createVfioFunction(options: VfioFunctionOptions): Promise<PciFunction> {
  const { os, log = silentLogger, startSpaces } = options;
  const address = parsePciAddress(options.address);
  const opened = await openDevice({
    ...options,
    os: os.ioctl,
    address,
    ...(startSpaces === undefined ? {} : { startThread: startSpaces }),
  });
  const teardown = new Teardown(log);
  teardown.add('group', () => opened.groupFd?.close());
  teardown.add('device', () => opened.fd.close());
  teardown.add('address spaces', () => opened.spaces[Symbol.asyncDispose]());
  try {
    const thread = (options.startIoctls ?? startIoctlThread)(opened.fd);
    teardown.add('calls', () => thread[Symbol.asyncDispose]());
    return await bringUp(options, address, opened, thread, teardown);
  } catch (error) {
    await teardown.run();
    throw error;
  }
}
