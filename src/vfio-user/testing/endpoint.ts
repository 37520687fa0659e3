// An endpoint that remembers what was asked of it; its regions are plain memory.
import { closeAll, type Fd } from '../../os/fd.js';
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from '../../uapi/vfio.js';
import type {
  ClientMemory,
  DmaMapRequest,
  DmaRange,
  EndpointIrq,
  EndpointRegion,
  IrqChange,
  VfioUserEndpoint,
} from '../endpoint.js';
import type { World } from './world.js';

const readWrite = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
const unused: EndpointRegion = { lengthBytes: 0, flags: 0 };

/** BAR0: read-write, two mappable areas; BAR1: read-only, by message; BAR2: large, by message. */
export const testRegions: readonly EndpointRegion[] = [
  {
    lengthBytes: 0x8000,
    flags: readWrite,
    areas: [
      { offsetBytes: 0, lengthBytes: 0x1000 },
      { offsetBytes: 0x4000, lengthBytes: 0x2000 },
    ],
    fdOffsetBytes: 0x10000,
  },
  { lengthBytes: 0x1000, flags: VFIO_REGION_INFO_FLAG_READ },
  { lengthBytes: 0x40_0000, flags: readWrite },
  unused,
  unused,
  unused,
  unused,
  { lengthBytes: 256, flags: readWrite },
  unused,
];

/** INTx and MSI absent, 24 MSI-X vectors, one error and one request interrupt. */
export const testIrqs: readonly EndpointIrq[] = [
  { count: 0, flags: 0 },
  { count: 0, flags: 0 },
  { count: 24, flags: 9 },
  { count: 1, flags: 1 },
  { count: 1, flags: 1 },
];

function describeChange(change: IrqChange, nameOf: (fd: Fd) => string | undefined): string {
  switch (change.action) {
    case 'bind':
      return ` ${change.start} ${change.fds.map(nameOf).join(',')}`;
    case 'unbind':
      return ` ${change.start} ${change.count}`;
    case 'disable':
      return '';
    default:
      return ` ${change.vectors.join(',')}`;
  }
}

export class TestEndpoint implements VfioUserEndpoint {
  regions: readonly EndpointRegion[] = testRegions;
  irqs = testIrqs;
  protected readonly world: World;
  #memory: readonly Uint8Array[] | undefined;
  /** One line per call. */
  readonly calls: string[] = [];
  readonly held: Fd[] = [];
  /** Memory of the client, once it has negotiated. */
  client: ClientMemory | undefined;
  closedCount = 0;
  closedWith: Error | undefined;
  /** Runs before every handler; may wait or throw. */
  before: (call: string) => void | Promise<void> = () => {};

  constructor(world: World) {
    this.world = world;
  }

  /** What the regions hold. */
  get memory(): readonly Uint8Array[] {
    this.#memory ??= this.regions.map((region) => new Uint8Array(region.lengthBytes));
    return this.#memory;
  }

  opened(client: ClientMemory): void {
    this.client = client;
  }

  regionFd(region: number): Fd | undefined {
    return this.world.open(`region${region}`);
  }

  read(region: number, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    return this.run(`read ${region} ${offset} ${length}`, () =>
      this.#memoryOf(region).slice(offset, offset + length),
    );
  }

  write(region: number, offset: number, bytes: Uint8Array, noReply: boolean) {
    const how = noReply ? ' posted' : '';
    return this.run(`write ${region} ${offset} ${bytes.length}${how}`, () => {
      this.#memoryOf(region).set(bytes, offset);
    });
  }

  dmaMap(request: DmaMapRequest) {
    const { iova, lengthBytes, offsetBytes, readable, writable, fd } = request;
    if (fd !== undefined) this.held.push(fd);
    const access = `${readable ? 'r' : '-'}${writable ? 'w' : '-'}`;
    const file = fd === undefined ? 'none' : this.world.nameOf(fd);
    return this.run(`map ${iova} ${lengthBytes} ${offsetBytes} ${access} ${file}`, () => {});
  }

  dmaUnmap(range: DmaRange | 'all') {
    const text = range === 'all' ? 'all' : `${range.iova} ${range.lengthBytes}`;
    return this.run(`unmap ${text}`, () => {});
  }

  setIrqs(change: IrqChange) {
    if (change.action === 'bind') this.held.push(...change.fds);
    const detail = describeChange(change, (fd) => this.world.nameOf(fd));
    return this.run(`${change.action} ${change.index}${detail}`, () => {});
  }

  reset?(): void | Promise<void> {
    return this.run('reset', () => {});
  }

  closed(error: Error | undefined): void {
    this.closedCount++;
    this.closedWith = error;
    closeAll(this.held.splice(0));
  }

  #memoryOf(region: number): Uint8Array {
    return this.memory[region] as Uint8Array;
  }

  protected run<T>(call: string, body: () => T): T | Promise<T> {
    this.calls.push(call);
    const wait = this.before(call);
    return wait instanceof Promise ? wait.then(body) : body();
  }
}
