// The device of floor/vfio-user-server.c in JavaScript, for any number of clients:
// `vfio-user-server <socket path>`. Ends with its stdin.
import { systemClock } from '../../src/os/clock.js';
import type { Mapping } from '../../src/os/memory-types.js';
import { createOs } from '../../src/os/os.js';
import { u32 } from '../../src/uapi/struct.js';
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from '../../src/uapi/vfio.js';
import type {
  ClientMemory,
  DmaMapRequest,
  DmaRange,
  VfioUserEndpoint,
} from '../../src/vfio-user/endpoint.js';
import { serveVfioUser } from '../../src/vfio-user/index.js';
import { dmaBytes, dmaReadDoorbell, dmaWriteDoorbell, regionBytes } from '../vfio-user-device.js';

const os = createOs();

class MemoryDevice implements VfioUserEndpoint {
  readonly regions = [
    { lengthBytes: regionBytes, flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE },
  ];
  readonly irqs = [];
  readonly #region = new Uint8Array(regionBytes);
  readonly #maps = new Map<bigint, Mapping>();
  #memory: Uint8Array = new Uint8Array(dmaBytes);
  #client: ClientMemory | undefined;

  opened(client: ClientMemory): void {
    this.#client = client;
  }

  regionFd(): undefined {
    return undefined;
  }

  read(_region: number, offsetBytes: number, lengthBytes: number): Uint8Array {
    return this.#region.slice(offsetBytes, offsetBytes + lengthBytes);
  }

  write(_region: number, offsetBytes: number, bytes: Uint8Array): void | Promise<void> {
    this.#region.set(bytes, offsetBytes);
    if (offsetBytes === dmaReadDoorbell) return this.#readClient(u32.read(bytes, 0, 'times'));
    if (offsetBytes === dmaWriteDoorbell) return this.#writeClient(u32.read(bytes, 0, 'times'));
  }

  async #readClient(times: number): Promise<void> {
    const client = this.#client!;
    for (let index = 0; index < times; index++) this.#memory = await client.dmaRead(0n, dmaBytes);
  }

  async #writeClient(times: number): Promise<void> {
    const client = this.#client!;
    for (let index = 0; index < times; index++) await client.dmaWrite(0n, this.#memory);
  }

  dmaMap({ fd, iova, lengthBytes, offsetBytes, writable }: DmaMapRequest): void {
    if (fd === undefined) return;
    const spec = { offsetBytes: Number(offsetBytes), lengthBytes: Number(lengthBytes), writable };
    try {
      this.#maps.set(iova, os.memory.map(fd, spec));
    } finally {
      fd.close();
    }
  }

  dmaUnmap(range: DmaRange | 'all'): void {
    for (const [iova, mapping] of this.#maps) {
      if (range !== 'all' && range.iova !== iova) continue;
      mapping[Symbol.dispose]();
      this.#maps.delete(iova);
    }
  }

  setIrqs(): void {}

  closed(): void {
    this.dmaUnmap('all');
  }
}

const listener = os.sockets.listen(process.argv[2] ?? '', 0o600, (socket) => {
  serveVfioUser(socket, new MemoryDevice(), { clock: systemClock });
});
process.stdout.write('ready\n');
process.stdin.resume();
process.stdin.once('end', () => {
  listener[Symbol.dispose]();
  process.exit();
});
