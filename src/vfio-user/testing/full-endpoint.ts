// A test endpoint with everything that the protocol has: it migrates, logs dirty pages, has
// descriptors in place of registers and a region of its own kind.
import { closeAll } from '../../os/fd.js';
import type {
  DmaRange,
  EndpointRegion,
  MaskEventChange,
  MigrationState,
  RegionIoFd,
} from '../endpoint.js';
import { TestEndpoint, testRegions } from './endpoint.js';

/** Bytes that a migrating test device gives and takes. */
export const deviceState = Uint8Array.from({ length: 100 }, (_, index) => index);

/** The region past those of PCI. */
export const ownRegion: EndpointRegion = {
  lengthBytes: 0x1000,
  flags: 3,
  areas: [{ offsetBytes: 0, lengthBytes: 0x1000 }],
  type: { type: 0x8000_8086, subtype: 2 },
};

export class FullEndpoint extends TestEndpoint {
  override regions: readonly EndpointRegion[] = [...testRegions, ownRegion];
  /** Entries of region 0, each with the name of its file; one name is one descriptor. */
  ioFdNames: readonly string[] = ['bell', 'bell', 'other'];
  /** What of the state was not yet read. */
  left: Uint8Array = deviceState;
  written: Uint8Array = new Uint8Array(0);

  readonly migration = {
    preCopy: true,
    transition: (from: MigrationState, to: MigrationState) => {
      if (to === 'stop-copy' || to === 'pre-copy') this.left = deviceState;
      return this.run(`arc ${from} ${to}`, () => {});
    },
    readData: (lengthBytes: number) =>
      this.run(`state ${lengthBytes}`, () => {
        const part = this.left.subarray(0, lengthBytes);
        this.left = this.left.subarray(lengthBytes);
        return part;
      }),
    writeData: (bytes: Uint8Array) =>
      this.run(`load ${bytes.length}`, () => {
        this.written = new Uint8Array(Buffer.concat([this.written, bytes]));
      }),
  };

  readonly dirtyPages = {
    /** The page size that it takes whatever is asked for; undefined: that. */
    pageBytes: undefined as number | undefined,
    start: (pageBytes: number, ranges: readonly DmaRange[]) => {
      const list = ranges.map(({ iova, lengthBytes }) => `${iova}+${lengthBytes}`).join(',');
      this.calls.push(`log ${pageBytes} ${list}`);
      return this.dirtyPages.pageBytes ?? pageBytes;
    },
    stop: () => {
      this.calls.push('log off');
    },
    report: (range: DmaRange, pageBytes: number) => {
      this.calls.push(`dirty ${range.iova} ${range.lengthBytes} ${pageBytes}`);
      const pages = Math.ceil(Number(range.lengthBytes) / pageBytes);
      const bitmap = new Uint8Array(Math.ceil(pages / 64) * 8);
      bitmap[0] = 0b101;
      return bitmap;
    },
  };

  regionIoFds(region: number): readonly RegionIoFd[] {
    if (region !== 0) return [];
    const names = [...new Set(this.ioFdNames)];
    const fds = new Map(names.map((name) => [name, this.world.open(name)]));
    return this.ioFdNames.flatMap((name, index) => {
      const fd = fds.get(name);
      if (fd === undefined) return [];
      const kind = index === 2 ? 'ioregionfd' : 'ioeventfd';
      const data = BigInt(index) + 0x1_0000_0000n;
      return [{ offsetBytes: index * 4, lengthBytes: 4, kind, flags: 1, data, fd }];
    });
  }

  setMaskEvents(change: MaskEventChange) {
    const names = change.fds.map((fd) => this.world.nameOf(fd)).join(',');
    closeAll(change.fds);
    const { on, index, start, count } = change;
    return this.run(`on ${on} ${index} ${start} ${count} ${names}`, () => {});
  }
}
