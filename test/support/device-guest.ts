// Plays the guest of a device that another process serves: registers, memory, interrupts, over a
// real socket.
import {
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../src/device/config-space.js';
import { closeAll, createOs, type Fd } from '../../src/os/index.js';
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX } from '../../src/uapi/vfio.js';
import { connectVfioUser, DmaTable, type VfioUserClient } from '../../src/vfio-user/index.js';
import { eventually } from './lessor.js';

/** How the device reaches the guest's memory: by a descriptor, or by asking the guest. */
export type MemoryWay = 'descriptor' | 'message';

export const guestIova = 0x10_0000;
const guestBytes = 0x10_0000;
const os = createOs();

export class DeviceGuest implements Disposable {
  readonly client: VfioUserClient;
  /** 1 MiB of memory that the device finds at `guestIova`. */
  readonly memory: Uint8Array;
  /** Vectors in the order in which they were heard. */
  readonly heard: number[] = [];
  readonly #owned: Disposable[] = [];

  private constructor(client: VfioUserClient, memory: Uint8Array, owned: Disposable[]) {
    this.client = client;
    this.memory = memory;
    this.#owned = owned;
  }

  /** Connects, maps the memory and sets Memory Space and Bus Master Enable. */
  static async connect(path: string, way: MemoryWay = 'descriptor'): Promise<DeviceGuest> {
    const dma = new DmaTable();
    const client = await connectVfioUser(os.sockets.connect(path), { clock: os.clock, dma });
    const owned: Disposable[] = [client];
    let memory = new Uint8Array(guestBytes);
    const iova = BigInt(guestIova);
    if (way === 'message') await dma.map(client, { iova, bytes: memory });
    else {
      const fd = os.memory.create('guest', guestBytes);
      const terms = { offsetBytes: 0, lengthBytes: guestBytes, writable: true };
      const mapping = os.memory.map(fd, terms);
      owned.push(mapping);
      memory = new Uint8Array(mapping.buffer);
      dma.add({ iova, bytes: memory });
      const rights = { readable: true, writable: true };
      await client.dmaMap({
        iova,
        lengthBytes: BigInt(guestBytes),
        offsetBytes: 0n,
        ...rights,
        fd,
      });
    }
    const command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    await client.write16(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, command);
    return new DeviceGuest(client, memory, owned);
  }

  /** Vendor and device id, as lspci writes them. */
  async pciId(): Promise<string> {
    const ids = await this.client.read32(VFIO_PCI_CONFIG_REGION_INDEX, 0);
    const digits = (id: number) => id.toString(16).padStart(4, '0');
    return `${digits(ids & 0xffff)}:${digits(ids >>> 16)}`;
  }

  /** Binds an eventfd to each vector of an interrupt index. */
  async bind(index: number, count = 1): Promise<void> {
    const fds: Fd[] = Array.from({ length: count }, () => os.events.createEventFd());
    fds.forEach((fd, vector) => {
      const watch = os.events.watch(fd, () => {
        if (os.events.drain(fd) > 0n) this.heard.push(vector);
      });
      this.#owned.push(watch, { [Symbol.dispose]: () => closeAll([fd]) });
    });
    const passed = fds.map((fd) => fd.duplicate());
    await this.client.setIrqs({ action: 'bind', index, start: 0, fds: passed });
  }

  /** Takes the interrupt that was heard longest ago, waiting for it. */
  interrupt(): Promise<number> {
    return eventually(async () => this.heard.shift());
  }

  /** What a driver does after it served INTx: lets the next one through. */
  async unmaskIntx(): Promise<void> {
    const index = VFIO_PCI_INTX_IRQ_INDEX;
    await this.client.setIrqs({ action: 'unmask', index, vectors: [0] });
  }

  /** Reads a register of BAR0 until it is as wanted. */
  async until(offsetBytes: number, isDone: (value: number) => boolean): Promise<number> {
    return await eventually(async () => {
      const value = await this.client.read32(0, offsetBytes);
      return isDone(value) ? value : undefined;
    });
  }

  [Symbol.dispose](): void {
    for (const owned of this.#owned.splice(0)) owned[Symbol.dispose]();
  }
}
