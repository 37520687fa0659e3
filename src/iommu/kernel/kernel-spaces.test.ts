import { beforeEach, describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { GiB, type Iova, MiB } from '../../base/units.js';
import { Fd } from '../../os/fd.js';
import type { IommuDevice, SpaceCalls } from '../iommufd.js';
import type { MapFileRequest, UnmapRequest } from '../requests.js';
import { FakeIoctl } from '../testing/fake-ioctl.js';
import type { AddressSpace, DmaAccount } from '../types.js';
import { KernelAddressSpaces } from './kernel-spaces.js';
import { SpaceServer } from './space-server.js';
import type { SpaceThread } from './space-thread.js';
import type { RequestMessage, WorkerData, WorkerMessage } from './worker-messages.js';

/** Says what it is told to do, in order. */
class RecordingIommufd implements SpaceCalls {
  readonly log: string[] = [];
  readonly mapped = new Map<string, bigint>();
  /** Called before each map. */
  beforeMap: (request: MapFileRequest) => void = () => undefined;
  #lastId = 0;

  ioasAlloc(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
  hwptAlloc(): number {
    return this.ioasAlloc();
  }
  ioasMapFile(request: MapFileRequest): bigint {
    const { ioasId, iova, length, fd } = request;
    this.log.push(`map ${ioasId} ${iova / BigInt(MiB)}+${Number(length) / MiB}`);
    this.beforeMap(request);
    if (this.mapped.has(`${ioasId}:${iova}`)) throw new OsError('EEXIST', 'ioctl');
    expect(fd.isOpen).toBe(true);
    this.mapped.set(`${ioasId}:${iova}`, length);
    return iova;
  }
  ioasUnmap({ ioasId, iova }: UnmapRequest): bigint {
    this.log.push(`unmap ${ioasId} ${iova / BigInt(MiB)}`);
    if (iova !== 0n) this.mapped.delete(`${ioasId}:${iova}`);
    return 0n;
  }
  destroy(): void {}
  settled(): Promise<void> {
    return Promise.resolve();
  }
  onMemoryGone(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }
}

const aperture = { start: 0n, last: 2n ** 48n - 1n };

function account(placedBytesMax = 64 * GiB): DmaAccount {
  return { placedBytesMax, tablePagesMax: 100, placedBytes: 0, tablePages: 0 };
}

const at = (mebibytes: number) => (mebibytes * MiB) as Iova;

let os: FakeIoctl;
let iommufd: RecordingIommufd;
let end: (detail: string) => void;
let terminated: boolean;
let spaces: KernelAddressSpaces;

/** The other thread's side in this one, behind messages that take a turn. */
function inThisThread(): SpaceThread {
  let listener: (message: WorkerMessage) => void = () => undefined;
  const post = (message: WorkerMessage) => {
    const copy = structuredClone(message);
    setImmediate(() => listener(copy));
  };
  const facts = { pasidBits: 4, pageBytes: 4096, aperture };
  const device: IommuDevice = {
    ...facts,
    id: 1,
    attach: (ptId) => ptId,
    detach: () => undefined,
    close: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
  const borrow = (descriptor: number) => {
    const close = () => 0;
    return new Fd({ close, duplicate: (number) => number }, descriptor);
  };
  const server = new SpaceServer({ iommufd, device, borrow, post });
  post({ type: 'bound', facts });
  return {
    post: (message: RequestMessage) => {
      const copy = structuredClone(message);
      setImmediate(() => server.take(copy));
    },
    onMessage: (given) => {
      listener = given;
    },
    ended: new Promise((resolve) => {
      end = resolve;
    }),
    terminate: async () => {
      terminated = true;
      end('terminated');
    },
  };
}

function open(change: { readonly mapsMax?: number } = {}): Promise<KernelAddressSpaces> {
  const deviceFd = os.open('/dev/vfio/devices/vfio0', 2);
  return KernelAddressSpaces.open({ os, deviceFd, startThread: inThisThread, ...change });
}

function memory() {
  return { fd: os.files.create('memory', 1), offsetBytes: 0 };
}

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return (error as { code?: string }).code ?? error;
  }
  return 'none';
}

beforeEach(async () => {
  os = new FakeIoctl();
  iommufd = new RecordingIommufd();
  terminated = false;
  spaces = await open();
});

describe('a map', () => {
  it('is done in pieces, and unmapped in them', async () => {
    const space = await spaces.open({ pasid: undefined });
    const lease = account();
    const mapping = await space.map(memory(), at(1), 150 * MiB, 'read', lease);
    expect(iommufd.log).toEqual(['map 1 1+64', 'map 1 65+64', 'map 1 129+22']);
    expect(mapping).toEqual({ iova: MiB, lengthBytes: 150 * MiB, access: 'read' });
    expect(lease.placedBytes).toBe(150 * MiB);
    await space.unmap(mapping);
    expect(iommufd.mapped.size).toBe(0);
    expect(lease.placedBytes).toBe(0);
    expect(await codeOf(space.unmap(mapping))).toBe('IOVA_NOT_MAPPED');
  });

  it('takes back what it mapped when a later piece fails, and keeps the code', async () => {
    const space = await spaces.open({ pasid: undefined });
    const lease = account();
    iommufd.mapped.set(`1:${129 * MiB}`, 1n);
    expect(await codeOf(space.map(memory(), at(1), 150 * MiB, 'read', lease))).toBe('IOVA_OVERLAP');
    expect([...iommufd.mapped.keys()]).toEqual([`1:${129 * MiB}`]);
    expect(lease.placedBytes).toBe(0);
    iommufd.beforeMap = () => {
      throw new OsError('EFAULT', 'IOMMU_IOAS_MAP_FILE');
    };
    await expect(space.map(memory(), at(900), MiB, 'read', lease)).rejects.toMatchObject({
      name: 'OsError',
      errno: 'EFAULT',
      syscall: 'IOMMU_IOAS_MAP_FILE',
    });
  });

  it('is refused before anything is asked of the thread when it cannot be', async () => {
    const space = await spaces.open({ pasid: undefined });
    const source = memory();
    const map = (iova: number, length: number, lease = account()) =>
      codeOf(space.map(source, iova as Iova, length, 'read', lease));
    expect(await map(0, 0)).toBe('INVALID_ARGUMENT');
    expect(await map(0, 100)).toBe('IOVA_UNALIGNED');
    expect(await map(2 ** 48 - 4096, 8192)).toBe('IOVA_OUTSIDE_WINDOW');
    expect(await map(0, MiB, account(MiB - 1))).toBe('QUOTA_EXCEEDED');
    const unreachable = { fd: undefined, offsetBytes: 0 };
    expect(await codeOf(space.map(unreachable, at(1), MiB, 'read', account()))).toBe('UNSUPPORTED');
    expect(iommufd.log).toEqual([]);
  });

  it('counts maps that are under way', async () => {
    spaces = await open({ mapsMax: 2 });
    const space = await spaces.open({ pasid: undefined });
    const source = memory();
    const maps = [1, 2, 3].map((from) =>
      codeOf(space.map(source, at(from), MiB, 'read', account())),
    );
    expect(await Promise.all(maps)).toEqual(['none', 'none', 'QUOTA_EXCEEDED']);
  });

  it('holds the memory although the caller closes its descriptor', async () => {
    const space = await spaces.open({ pasid: undefined });
    const source = memory();
    const before = os.files.openCount;
    const map = space.map(source, at(1), 100 * MiB, 'read', account());
    source.fd.close();
    await map;
    expect(os.files.openCount).toBe(before - 1);
  });
});

describe('while a long map is under way', () => {
  /** Waits for the first piece. */
  async function begin(space: AddressSpace, lease: DmaAccount) {
    const map = space.map(memory(), at(1024), 10 * GiB, 'read', lease);
    const result = codeOf(map);
    while (iommufd.log.length < 2) await new Promise((resolve) => setImmediate(resolve));
    return { result };
  }

  it('another lease waits for a piece of it', async () => {
    const long = await spaces.open({ pasid: 1 });
    const other = await spaces.open({ pasid: 2 });
    await begin(long, account());
    await other.map(memory(), at(1), MiB, 'read', account());
    expect(iommufd.log.filter((line) => line.startsWith('map 1')).length).toBeLessThan(12);
    await long[Symbol.asyncDispose]();
  });

  it('an unmap of the same lease waits for a piece of it', async () => {
    const space = await spaces.open({ pasid: 1 });
    const small = await space.map(memory(), at(1), MiB, 'read', account());
    await begin(space, account());
    await space.unmap(small);
    expect(iommufd.log.length).toBeLessThan(12);
    await space[Symbol.asyncDispose]();
  });

  it('a dispose ends it and removes what it mapped', async () => {
    const space = await spaces.open({ pasid: 1 });
    const lease = account();
    const { result } = await begin(space, lease);
    const next = codeOf(space.map(memory(), at(1), MiB, 'read', lease));
    await space[Symbol.asyncDispose]();
    expect(await result).toBe('LEASE_ENDED');
    expect(await next).toBe('LEASE_ENDED');
    expect(iommufd.mapped.size).toBe(0);
    expect(lease.placedBytes).toBe(0);
    expect(await codeOf(space.map(memory(), at(1), MiB, 'read', lease))).toBe('LEASE_ENDED');
    const again = await spaces.open({ pasid: 1 });
    expect(again.pasid).toBe(1);
  });

  it('a dispose gives back also what was being unmapped', async () => {
    const space = await spaces.open({ pasid: 1 });
    const lease = account();
    const small = await space.map(memory(), at(1), MiB, 'read', lease);
    await begin(space, lease);
    const unmap = codeOf(space.unmap(small));
    expect(await codeOf(space.unmap(small))).toBe('IOVA_NOT_MAPPED');
    await space[Symbol.asyncDispose]();
    expect(['none', 'LEASE_ENDED']).toContain(await unmap);
    expect(lease.placedBytes).toBe(0);
    expect(iommufd.mapped.size).toBe(0);
  });

  it('the end of the thread fails everything, and closes what the device holds', async () => {
    const space = await spaces.open({ pasid: 1 });
    const lease = account();
    const before = os.files.openCount;
    const { result } = await begin(space, lease);
    end('it crashed');
    expect(await result).toBe('FUNCTION_GONE');
    expect(lease.placedBytes).toBe(0);
    await new Promise((resolve) => setImmediate(resolve));
    // One memory more; the device and the iommufd are closed.
    expect(os.files.openCount).toBe(before + 1 - 2);
    expect(await codeOf(space.map(memory(), at(1), MiB, 'read', lease))).toBe('FUNCTION_GONE');
    expect(await codeOf(spaces.open({ pasid: 2 }))).toBe('FUNCTION_GONE');
    expect(await codeOf(space[Symbol.asyncDispose]())).toBe('FUNCTION_GONE');
  });
});

describe('KernelAddressSpaces', () => {
  it('opens PASIDs and shares of the plain requester id as address spaces do', async () => {
    expect(await codeOf(spaces.open({ pasid: 16 }))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(spaces.open({ pasid: 0 }))).toBe('INVALID_ARGUMENT');
    const first = await spaces.open({ pasid: 3 });
    expect(await codeOf(spaces.open({ pasid: 3 }))).toBe('INVALID_ARGUMENT');
    await first[Symbol.asyncDispose]();
    await spaces.open({ pasid: 3 });
    const [one, other] = [
      await spaces.open({ pasid: undefined }),
      await spaces.open({ pasid: undefined }),
    ];
    await one.map(memory(), at(1), MiB, 'read', account());
    expect(await codeOf(other.map(memory(), at(1), MiB, 'read', account()))).toBe('IOVA_OVERLAP');
  });

  it('ends the thread and closes its descriptors', async () => {
    const space = await spaces.open({ pasid: undefined });
    await space.map(memory(), at(1), MiB, 'read', account());
    const before = os.files.openCount;
    await spaces[Symbol.asyncDispose]();
    expect([terminated, os.files.openCount]).toEqual([true, before - 2]);
    expect(iommufd.mapped.size).toBe(0);
    expect(await codeOf(spaces.open({ pasid: 1 }))).toBe('LEASE_ENDED');
  });

  it('works with a container as with an iommufd, and closes all of it', async () => {
    const before = os.files.openCount;
    const deviceFd = os.files.create('other', 1);
    const container = {
      groupFd: os.files.create('other', 2),
      containerFd: os.files.create('other', 3),
    };
    const nodes = os.opened.length;
    let given: unknown;
    const startThread = (data: WorkerData) => {
      given = data;
      return inThisThread();
    };
    const { containerFd } = container;
    const expected = { container: containerFd.number };
    await using other = await KernelAddressSpaces.open({ os, deviceFd, container, startThread });
    expect([given, os.opened.length]).toEqual([expected, nodes]);
    const space = await other.open({ pasid: undefined });
    const source = memory();
    await space.map(source, at(1), MiB, 'read', account());
    source.fd.close();
    await other[Symbol.asyncDispose]();
    expect(os.files.openCount).toBe(before);
  });

  it('keeps no descriptor when the node cannot be opened or the device not be bound', async () => {
    const count = os.files.openCount;
    const startThread = (): SpaceThread => ({
      ...inThisThread(),
      onMessage: (listener) => {
        const error = { kind: 'os', errno: 'EBUSY', syscall: 'VFIO_DEVICE_BIND_IOMMUFD' } as const;
        setImmediate(() => listener({ type: 'refused', error }));
      },
    });
    const deviceFd = os.open('/dev/vfio/devices/vfio0', 2);
    await expect(KernelAddressSpaces.open({ os, deviceFd, startThread })).rejects.toMatchObject({
      errno: 'EBUSY',
    });
    expect([terminated, os.files.openCount]).toEqual([true, count]);
    const [again, groupFd, containerFd] = [1, 2, 3].map((one) => os.files.create('other', one));
    const container = { groupFd: groupFd!, containerFd: containerFd! };
    const refused = KernelAddressSpaces.open({ os, deviceFd: again!, container, startThread });
    await expect(refused).rejects.toMatchObject({ errno: 'EBUSY' });
    expect(os.files.openCount).toBe(count);
  });
});
