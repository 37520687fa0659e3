// Opens a function to see what it and the kernel can do, and closes it again.
import { silentLogger } from '../base/log.js';
import { disableMaster, enableFunction } from '../function/vfio/config-space.js';
import { readDeviceInfo } from '../function/vfio/device-info.js';
import { probeDmaBufs } from '../function/vfio/dma-buf-probe.js';
import { openDevice } from '../function/vfio/open-device.js';
import { Teardown } from '../function/vfio/teardown.js';
import type { VfioDevice } from '../function/vfio/types.js';
import { createOs } from '../os/index.js';
import { startIoctlThread } from '../os/ioctl-thread.js';
import {
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../uapi/vfio.js';
import type { HeldFacts } from './facts.js';

/**
 * Holds a function for a moment. The kernel resets it at the open and at the close.
 *
 * @param address - In sysfs's spelling.
 * @throws LessorError `FUNCTION_GONE`, `FUNCTION_UNBOUND`, `FUNCTION_BUSY`, `GROUP_NOT_VIABLE`,
 *   `DENIED`, `UNSUPPORTED`; ProtocolError for a device that contradicts itself; OsError
 */
export async function holdFunction(address: string): Promise<HeldFacts> {
  const os = createOs();
  const opened = await openDevice({ os: os.ioctl, address });
  const teardown = new Teardown(silentLogger);
  teardown.add('group', () => opened.groupFd?.close());
  teardown.add('device', () => opened.fd.close());
  teardown.add('address spaces', () => opened.spaces[Symbol.asyncDispose]());
  try {
    const thread = startIoctlThread(opened.fd);
    teardown.add('calls', () => thread[Symbol.asyncDispose]());
    const call: VfioDevice['call'] = (...given) => thread.call(...given);
    const { fd, spaces } = opened;
    const device = { address, os: os.ioctl, fd, call, ...(await readDeviceInfo(call)) };
    // Windows of a device that does not decode its memory cannot be tried.
    enableFunction(device);
    teardown.add('bus master', () => disableMaster(device));
    const { pasidBits, aperture } = spaces.facts;
    return {
      way: opened.way,
      pasidBits,
      lastIova: BigInt(aperture.last),
      canReset: device.canReset,
      vectorCount: vectorCountOf(device),
      dmaBufs: await probeDmaBufs(device, os.memory),
    };
  } finally {
    await teardown.run();
  }
}

/** Of the kind with the most: a function uses one of them. */
function vectorCountOf({ irqs }: Pick<VfioDevice, 'irqs'>): number {
  const kinds = [VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX];
  return Math.max(...kinds.map((index) => irqs.get(index)?.count ?? 0));
}
