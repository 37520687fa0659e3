// `npm run vm -- --kernel patched -- node dist/test/kernel/window-as-memory.js`: a window of a
// function in the kernel, mapped by a client for the device: checked as the broker checks it, and
// mapped by the thread that leases map through. Only in the test machine.

import { AssertionFailure, isLessorError } from '../../src/base/errors.js';
import { type Iova, MiB } from '../../src/base/units.js';
import { WindowBook } from '../../src/broker/window-book.js';
import { edu } from '../../src/device/edu/registers.js';
import type { FunctionInfo } from '../../src/function/types.js';
import { probeDmaBufs } from '../../src/function/vfio/dma-buf-probe.js';
import type { VfioDevice } from '../../src/function/vfio/types.js';
import { VfioWindows } from '../../src/function/vfio/windows.js';
import { KernelAddressSpaces } from '../../src/iommu/kernel/kernel-spaces.js';
import { checkMap } from '../../src/iommu/memory-check.js';
import type { DmaMapping } from '../../src/iommu/types.js';
import type { Fd } from '../../src/os/fd.js';
import { createOs, type Os } from '../../src/os/index.js';
import { VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX } from '../../src/uapi/vfio.js';
import { bindEdu, eduAddress } from './edu-device.js';
import { Edu } from './fault-matrix/edu.js';
import { VfioRegion } from './fault-matrix/vfio-region.js';
import { account, createMemory } from './type1/rig.js';

const O_RDWR = 2;
const pageBytes = 4096;
const uid = 1000;
const bar = { region: 0, offsetBytes: 0, lengthBytes: edu.registerBytes } as const;
const windowIova = 16 * MiB;
const memoryIova = 32 * MiB;

function expectSame(what: string, actual: unknown, wanted: unknown): void {
  if (actual === wanted) return;
  throw new AssertionFailure(`${what}: ${String(actual)}, not ${String(wanted)}`);
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return 'ok';
  } catch (error) {
    return isLessorError(error) ? error.code : String(error);
  }
}

/** The device as windows need it. */
function deviceOf(os: Os, fd: Fd): VfioDevice {
  const area = { offsetBytes: 0, lengthBytes: edu.registerBytes };
  const region = {
    index: VFIO_PCI_BAR0_REGION_INDEX,
    fileOffsetBytes: 0,
    lengthBytes: edu.registerBytes,
    isReadable: true,
    isWritable: true,
    mappable: [area],
  };
  return {
    address: eduAddress,
    os: os.ioctl,
    fd,
    canReset: false,
    regions: new Map([[region.index, region]]),
    irqs: new Map(),
    call: async (_name, request, argument) => os.ioctl.ioctl(fd, request, argument),
  };
}

function eduOf(os: Os, fd: Fd): Edu {
  const config = new VfioRegion(os.ioctl, fd, VFIO_PCI_CONFIG_REGION_INDEX);
  config.write(4, 2, config.read(4, 2) | 6);
  const registers = new VfioRegion(os.ioctl, fd, VFIO_PCI_BAR0_REGION_INDEX);
  const access = {
    read32: async (offsetBytes: number) => registers.read(offsetBytes, 4),
    write32: async (offsetBytes: number, value: number) => registers.write(offsetBytes, 4, value),
  };
  return new Edu(access, os.clock);
}

async function run(say: (line: string) => void): Promise<void> {
  const os = createOs();
  using fd = os.ioctl.open(bindEdu(), O_RDWR);
  await using spaces = await KernelAddressSpaces.open({ os: os.ioctl, deviceFd: fd.duplicate() });
  const device = deviceOf(os, fd);
  const engine = eduOf(os, fd);
  const offer = await probeDmaBufs(device, os.memory);
  if (!offer.revoke.works) {
    say(`impossible on this kernel: ${offer.revoke.reason}`);
    return;
  }
  const access = {
    read: async () => Promise.reject(new AssertionFailure('no messages here')),
    write: async () => Promise.reject(new AssertionFailure('no messages here')),
  };
  const windows = new VfioWindows({ device, offer, access, pageBytes, importable: true });
  const info = { regions: [{ index: 0, ...bar }], reserved: [] } as unknown as FunctionInfo;
  const spec = {
    region: 0,
    ranges: [{ offsetBytes: 0, lengthBytes: pageBytes }],
    access: 'read-write',
  } as const;
  const window = await windows.open(spec, info);
  expectSame('the window', window.revocation, 'kernel');

  const book = new WindowBook();
  const booked = { window, access: 'read-write', leaseId: 'x', uid, refusal: () => undefined };
  using _entry = book.addFile(window.fd!, { ...booked, access: 'read-write' });
  // What a client has and sends back.
  using sent = window.fd!.duplicate();
  await using space = await spaces.open({ pasid: undefined });
  using memory = createMemory(os, pageBytes);
  const map = async (from: Fd, iova: number): Promise<DmaMapping> => {
    const request = { fd: from, offsetBytes: 0, iova, lengthBytes: pageBytes } as const;
    const checked = checkMap(
      os.memory,
      { ...request, access: 'read-write' },
      {
        window: { start: 0, end: 256 * MiB },
        pageBytes,
        allowUnsealedMemory: true,
        windowOf: (identity, wanted) => book.target(identity, wanted, uid),
        windowOfFile: (file, wanted) =>
          book.fileTarget((own) => os.memory.isSameFile(file, own), wanted, uid),
      },
    );
    return space.map(checked, checked.iova, checked.lengthBytes, checked.access, account());
  };
  /** What the device finds at the window's address, seen through real memory. */
  const word = async (): Promise<number> => {
    new Uint32Array(memory.bytes.buffer, 0, 1)[0] = 0;
    const transfer = { bufferOffset: 0, lengthBytes: 4 };
    await engine.transfer({ ...transfer, direction: 'from memory', iova: memoryIova });
    await engine.transfer({ ...transfer, direction: 'from memory', iova: windowIova });
    await engine.transfer({ ...transfer, direction: 'to memory', iova: memoryIova });
    return new Uint32Array(memory.bytes.buffer, 0, 1)[0]!;
  };
  await map(memory.fd, memoryIova);
  expectSame(
    'before it is connected',
    await codeOf(() => map(sent, windowIova)),
    'LEASE_NOT_ENABLED',
  );
  await window.connect();
  const mapping = await map(sent, windowIova);
  expectSame('what the device reads of itself', await word(), edu.identification);
  say('ok a device reaches a window that was mapped by the descriptor its holder has');
  const again = await codeOf(() => map(sent, windowIova));
  expectSame('at the same address', again, 'IOVA_OVERLAP');
  await window.detach();
  expectSame('after the cut', (await word()) === edu.identification, false);
  expectSame('a new map', await codeOf(() => map(sent, 64 * MiB)), 'LEASE_NOT_ENABLED');
  const raw = { fd: sent, offsetBytes: 0 };
  const late = () => space.map(raw, (64 * MiB) as Iova, pageBytes, 'read', account());
  expectSame('one that was under way', await codeOf(late), 'WINDOW_REVOKED');
  await space.unmap(mapping);
  say('ok the cut takes it from the device, and nobody maps it again');
  await windows.disposeAll();
  expectSame('one that is gone', await codeOf(() => map(sent, windowIova)), 'MEMORY_NOT_SHMEM');
  say('ok what is left with the holder is no memory any more');
}

await run((line) => process.stdout.write(`${line}\n`));
