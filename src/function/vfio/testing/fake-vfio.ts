// A machine with one function that vfio-pci has: sysfs and the nodes are files, the device is a
// sparse memory whose regions lie where the kernel has them, and a test answers the ioctls.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Errno } from '../../../base/errno.js';
import { OsError } from '../../../base/errors.js';
import type { SpaceThread } from '../../../iommu/kernel/space-thread.js';
import type { WorkerData } from '../../../iommu/kernel/worker-messages.js';
import type { Fd } from '../../../os/fd.js';
import { createOs } from '../../../os/index.js';
import type { IoctlOs } from '../../../os/ioctl-types.js';
import { DirectIoctlThread } from '../../../os/testing/direct-ioctl-thread.js';
import * as uapi from '../../../uapi/vfio.js';
import { DirectHelpers } from '../../testing/direct-helpers.js';
import type { VfioFunctionOptions } from '../index.js';

export const fakeAddress = '0000:00:05.0';
const deviceName = 'vfio3';
const regionBytes = 2 ** 40;
export const configOffset = uapi.VFIO_PCI_CONFIG_REGION_INDEX * regionBytes;

type Answer = (bytes: Uint8Array) => number | undefined;

/** What a region's info says; the defaults are those of a BAR. */
export interface FakeRegion {
  readonly size: bigint;
  readonly flags?: number;
  /** What stands behind the struct. */
  readonly caps?: Uint8Array;
  readonly argsz?: number;
}

const barFlags = 0x7;

export class FakeVfio {
  readonly #real = createOs();
  readonly folder = mkdtempSync(join(tmpdir(), 'lessor-fake-vfio-'));
  /** The device's file. */
  readonly file: Fd;
  readonly regions = new Map<number, FakeRegion>([
    [0, { size: 8192n }],
    [7, { size: 256n, flags: 0x3 }],
  ]);
  /** Count by index. */
  readonly irqs = new Map<number, number>([
    [uapi.VFIO_PCI_MSI_IRQ_INDEX, 2],
    [uapi.VFIO_PCI_ERR_IRQ_INDEX, 1],
    [uapi.VFIO_PCI_REQ_IRQ_INDEX, 1],
  ]);
  deviceFlags = uapi.VFIO_DEVICE_FLAGS_PCI | uapi.VFIO_DEVICE_FLAGS_RESET;
  readonly answers = new Map<number, Answer>();
  /** Names of what was done to the device, in order. */
  readonly log: string[] = [];
  /** Why the node cannot be opened. */
  openErrno: Errno | undefined;
  /** What the thread of the IOMMU refuses to bind with. */
  bindErrno: Errno | undefined;
  readonly ioctl: IoctlOs;
  readonly #triggers = new Map<number, number>();
  readonly #signaller = this.#real.events.createSignaller();
  readonly #records: string[] = [];
  #kernelLog: number | undefined;
  #endSpaces: (detail: string) => void = () => undefined;

  constructor() {
    this.file = this.#real.memory.create('lessor-fake-vfio', configOffset + 256);
    const id = Uint8Array.of(0x34, 0x12, 0xe8, 0x11, 0, 0, 0, 0, 0x10, 0, 0xff, 0);
    this.#real.ioctl.writeAt(this.file, id, configOffset);
    this.#makeFolders();
    this.#answerCalls();
    this.ioctl = {
      ...this.#real.ioctl,
      ioctl: (_fd, request, argument) => {
        const answer = this.answers.get(request);
        if (answer === undefined) throw new OsError('ENOTTY', 'ioctl');
        return answer(argument as Uint8Array) ?? 0;
      },
      open: (path, flags) => {
        if (path.endsWith('/kmsg')) return this.#openLog();
        if (!path.endsWith(deviceName)) return this.#real.ioctl.open(path, flags);
        if (this.openErrno !== undefined) throw new OsError(this.openErrno, 'open', path);
        return this.file.duplicate();
      },
      read: (fd, into) => {
        if (fd.number !== this.#kernelLog) return this.#real.ioctl.read(fd, into);
        this.#real.events.drain(fd);
        const record = this.#records.shift();
        if (record === undefined) throw new OsError('EAGAIN', 'read');
        return Buffer.from(into.buffer, into.byteOffset).write(record, 'latin1');
      },
      writeAt: (fd, bytes, at) => {
        if (at === configOffset + 4) this.log.push(`command ${bytes[0]}`);
        return this.#real.ioctl.writeAt(fd, bytes, at);
      },
    };
  }

  get options(): VfioFunctionOptions {
    return {
      os: { ...this.#real, ioctl: this.ioctl },
      helpers: new DirectHelpers(this.#real.memory),
      address: fakeAddress,
      name: 'fake',
      sysfs: this.folder,
      dev: this.folder,
      startIoctls: (fd) => {
        const thread = new DirectIoctlThread(this.ioctl, fd);
        void thread.ended.then(() => this.log.push('calls ended'));
        return thread;
      },
      startSpaces: (data) => this.#startSpaces(data),
    };
  }

  get real(): ReturnType<typeof createOs> {
    return this.#real;
  }

  /** Which driver has the function; undefined: none. */
  bindTo(driver: string | undefined, address = fakeAddress): void {
    const link = `${this.folder}/kernel/iommu_groups/7/devices/${address}/driver`;
    rmSync(link, { force: true });
    if (driver !== undefined) symlinkSync(`../../drivers/${driver}`, link);
  }

  /** Another function in the group. */
  addToGroup(address: string): void {
    mkdirSync(`${this.folder}/kernel/iommu_groups/7/devices/${address}`);
  }

  removeNode(path: string): void {
    rmSync(`${this.folder}/${path}`, { recursive: true });
  }

  fail(request: number, errno: Errno): void {
    this.answers.set(request, () => {
      throw new OsError(errno, 'ioctl');
    });
  }

  /** What the device's memory holds from there on. */
  bytesAt(at: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    this.#real.ioctl.readAt(this.file, bytes, at);
    return bytes;
  }

  setBytes(at: number, ...bytes: number[]): void {
    this.#real.ioctl.writeAt(this.file, Uint8Array.from(bytes), at);
  }

  /** Everything that is the device's own reads ones from now on; ids are the kernel's. */
  pull(): void {
    this.setBytes(configOffset + 8, 0xff, 0xff, 0xff, 0xff);
    this.setBytes(0, ...Array<number>(4096).fill(0xff));
  }

  /** Fires an interrupt with one vector. */
  fire(index: number): void {
    const target = this.#triggers.get(index);
    if (target !== undefined) this.#signaller.signal(target);
  }

  /** Something in the log of the kernel. */
  say(record: string): void {
    this.#records.push(record);
    if (this.#kernelLog !== undefined) this.#signaller.signal(this.#kernelLog);
  }

  /** The thread of the IOMMU dies. */
  killSpaces(): void {
    this.#endSpaces('the thread of the IOMMU ended');
  }

  [Symbol.dispose](): void {
    this.#signaller[Symbol.dispose]();
    this.file.close();
    rmSync(this.folder, { recursive: true });
  }

  /** Readable at once, as a log is that was written to before. */
  #openLog(): Fd {
    const fd = this.#real.events.createEventFd();
    this.#kernelLog = fd.number;
    this.#signaller.signal(fd.number);
    return fd;
  }

  #makeFolders(): void {
    const { folder } = this;
    const group = `${folder}/kernel/iommu_groups/7/devices/${fakeAddress}`;
    const device = `${folder}/bus/pci/devices/${fakeAddress}`;
    for (const path of [group, `${device}/vfio-dev/${deviceName}`, `${folder}/vfio/devices`]) {
      mkdirSync(path, { recursive: true });
    }
    symlinkSync('../../../kernel/iommu_groups/7', `${device}/iommu_group`);
    writeFileSync(`${folder}/iommu`, '');
    const reserved = '0x00000000fee00000 0x00000000feefffff msi\n';
    writeFileSync(`${folder}/kernel/iommu_groups/7/reserved_regions`, reserved);
    this.bindTo('vfio-pci');
  }

  #answerCalls(): void {
    const { answers } = this;
    answers.set(uapi.VFIO_DEVICE_GET_INFO, (bytes) => {
      const head = { flags: this.deviceFlags, num_regions: 9, num_irqs: 5 };
      uapi.vfioDeviceInfo.encodeAt({ argsz: 24, ...head, cap_offset: 0, pad: 0 }, bytes, 0);
      return undefined;
    });
    answers.set(uapi.VFIO_DEVICE_GET_REGION_INFO, (bytes) => {
      this.#tellRegion(bytes);
      return undefined;
    });
    answers.set(uapi.VFIO_DEVICE_GET_IRQ_INFO, (bytes) => {
      const { index } = uapi.vfioIrqInfo.decode(bytes);
      const count = this.irqs.get(index) ?? 0;
      uapi.vfioIrqInfo.encodeAt({ argsz: 16, flags: 1, index, count }, bytes, 0);
      return undefined;
    });
    answers.set(uapi.VFIO_DEVICE_SET_IRQS, (bytes) => {
      const { index, start, count } = uapi.vfioIrqSet.decodeAt(bytes, 0);
      const view = new DataView(bytes.buffer, bytes.byteOffset + uapi.vfioIrqSet.sizeBytes);
      if (count === 1 && start === 0) this.#triggers.set(index, view.getInt32(0, true));
      if (count === 0) {
        this.#triggers.delete(index);
        this.log.push(`irq ${index} off`);
      }
      return undefined;
    });
    answers.set(uapi.VFIO_DEVICE_RESET, () => {
      this.log.push('reset');
      this.setBytes(configOffset + 4, 0, 0);
      return undefined;
    });
  }

  #tellRegion(bytes: Uint8Array): void {
    const { index, argsz } = uapi.vfioRegionInfo.decodeAt(bytes, 0);
    const {
      size,
      flags = barFlags,
      caps,
      argsz: told,
    } = this.regions.get(index) ?? {
      size: 0n,
      flags: 0,
    };
    const needed = told ?? 32 + (caps?.length ?? 0);
    const fits = caps !== undefined && argsz >= needed;
    if (fits) bytes.set(caps, 32);
    const info = {
      argsz: needed,
      flags: flags | (caps === undefined ? 0 : uapi.VFIO_REGION_INFO_FLAG_CAPS),
      index,
      cap_offset: fits ? 32 : 0,
      size,
      offset: BigInt(index) << 40n,
    };
    uapi.vfioRegionInfo.encodeAt(info, bytes, 0);
  }

  #startSpaces(_data: WorkerData): SpaceThread {
    let listener: Parameters<SpaceThread['onMessage']>[0] = () => undefined;
    const ended = new Promise<string>((resolve) => {
      this.#endSpaces = resolve;
    });
    const facts = { pasidBits: 0, pageBytes: 4096, aperture: { start: 0n, last: 2n ** 48n - 1n } };
    const { bindErrno } = this;
    const syscall = 'VFIO_DEVICE_BIND_IOMMUFD';
    setImmediate(() => {
      if (bindErrno === undefined) listener({ type: 'bound', facts });
      else listener({ type: 'refused', error: { kind: 'os', errno: bindErrno, syscall } });
    });
    return {
      post: ({ callId, request }) => {
        this.log.push(`spaces ${request.type}`);
        setImmediate(() => listener({ type: 'done', callId, error: undefined }));
      },
      onMessage: (given) => {
        listener = given;
      },
      ended,
      terminate: async () => this.#endSpaces('terminated'),
    };
  }
}
