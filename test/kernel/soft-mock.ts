// The kernel's mock devices over units of the soft iommufd: IOMMU_TEST_CMD with the same numbers,
// the same order of objects and the same traits. @see linux drivers/iommu/iommufd/selftest.c
import { OsError } from '../../src/base/errors.js';
import { DeviceIommu } from '../../src/iommu/soft/device-iommu.js';
import type { Command } from '../../src/iommu/soft/ioctl/command.js';
import type { SoftDevice } from '../../src/iommu/soft/soft-device.js';
import type { SoftIommufd } from '../../src/iommu/soft/soft-iommufd.js';
import { SoftUnit } from '../../src/iommu/soft/soft-unit.js';
import { op } from './commands/mock.js';
import type { WorldMemory } from './memory.js';
import { type MockTable, mockDriver, mockFlags, mockTraits } from './mock-traits.js';
import type { SoftParts } from './soft-parts.js';
import { u32At, u64At } from './struct-bytes.js';

const requestNumber = 0x3ba0;
const structBytes = 72;
/** To the end of `last`. */
const leastBytes = 68;

interface Mock {
  readonly device: SoftDevice;
  readonly unit: SoftUnit;
}

type Write = (data: Uint8Array, at: number) => void;

export class SoftMock {
  readonly #parts: SoftParts;
  readonly #iommufd: SoftIommufd;
  readonly #memory: WorldMemory;
  /** By the id of the harness' own object. */
  readonly #mocks = new Map<number, Mock>();

  constructor(parts: SoftParts, iommufd: SoftIommufd, memory: WorldMemory) {
    this.#parts = parts;
    this.#iommufd = iommufd;
    this.#memory = memory;
  }

  get command(): Command {
    return {
      request: requestNumber,
      structBytes,
      leastBytes,
      execute: (_caller, bytes, write) => this.#execute(bytes, write),
    };
  }

  #execute(bytes: Uint8Array, write: Write): void {
    const id = u32At(bytes, 8);
    const first = u32At(bytes, 16);
    const second = u32At(bytes, 20);
    const actions: Readonly<Record<number, () => void>> = {
      [op.addReserved]: () => this.#addReserved(id, u64At(bytes, 16), u64At(bytes, 24)),
      [op.mockDomain]: () => this.#create(id, 0, bytes, write),
      [op.mockDomainFlags]: () => this.#create(id, u32At(bytes, 28), bytes, write),
      [op.checkMap]: () => this.#checkMap(id, bytes),
      [op.mockDomainReplace]: () => {
        put(bytes, 16, this.#find(id).device.replace(first));
        write(bytes, 0);
      },
      [op.dirty]: () => this.#dirty(id, bytes, write),
      [op.checkIotlb]: () => this.#checkIotlb(id, first, second),
      [op.triggerIopf]: () => this.#triggerIopf(bytes),
      [op.pasidAttach]: () => this.#attachPasid(id, bytes, write),
      [op.pasidReplace]: () => {
        put(bytes, 20, this.#find(id).device.replace(second, first));
        write(bytes, 0);
      },
      [op.pasidDetach]: () => this.#find(id).device.detach(first),
      [op.pasidCheckHwpt]: () => this.#checkPasid(this.#find(id), first, second),
    };
    const action = actions[u32At(bytes, 4)];
    if (action === undefined) throw fail('EOPNOTSUPP', 'unknown operation');
    action();
  }

  #find(id: number): Mock {
    const mock = this.#mocks.get(id);
    if (mock === undefined) throw fail('ENOENT', `mock ${id}`);
    return mock;
  }

  /** Its own object first, then the device, then the HWPT: ids come in this order. */
  #create(target: number, flags: number, bytes: Uint8Array, write: Write): void {
    const own = this.#iommufd.reserveObject();
    let device: SoftDevice | undefined;
    try {
      if ((flags & ~(mockFlags.noDirty | mockFlags.pasid)) !== 0) throw fail('EINVAL', 'flags');
      const unit = new SoftUnit({ traits: mockTraits(flags) });
      device = this.#iommufd.bind(unit);
      const hwpt = device.attachFirst(target);
      put(bytes, 16, own.id);
      put(bytes, 20, hwpt);
      put(bytes, 24, device.id);
      write(bytes, 0);
      this.#publish(own, { device, unit });
    } catch (error) {
      device?.close();
      own.abandon();
      throw error;
    }
  }

  #publish(own: ReturnType<SoftIommufd['reserveObject']>, mock: Mock): void {
    this.#mocks.set(own.id, mock);
    own.publish(() => {
      this.#mocks.delete(own.id);
      mock.device.close();
    });
  }

  #attachPasid(id: number, bytes: Uint8Array, write: Write): void {
    const { device } = this.#find(id);
    const pasid = u32At(bytes, 16);
    put(bytes, 20, device.attachFirst(u32At(bytes, 20), pasid));
    try {
      write(bytes, 0);
    } catch (error) {
      device.detach(pasid);
      throw error;
    }
  }

  #checkPasid({ device }: Mock, pasid: number, hwpt: number): void {
    const attached = device.attachedTo(pasid === 0 ? undefined : pasid);
    if (hwpt === 0) {
      if (attached !== undefined) throw fail('EINVAL', 'attached');
      return;
    }
    const object = this.#iommufd.find(hwpt);
    if (object === undefined) throw fail('ENOENT', `object ${hwpt}`);
    if (object.kind !== 'hwpt' && object.kind !== 'nested') throw fail('EINVAL', 'no HWPT');
    if (attached !== hwpt) throw fail('EINVAL', 'another HWPT');
  }

  #addReserved(ioas: number, start: bigint, length: bigint): void {
    if (length === 0n) throw fail('EINVAL', 'length 0');
    const last = start + length - 1n;
    if (last >= 1n << 64n) throw fail('EOVERFLOW', 'start + length');
    const object = this.#iommufd.find(ioas);
    if (object?.kind !== 'ioas') throw fail('ENOENT', `ioas ${ioas}`);
    object.reserve([{ start, last }], this, 'IOMMU_TEST_CMD');
  }

  /** Every half page is where the process sees it; told by its content. */
  #checkMap(hwpt: number, bytes: Uint8Array): void {
    const object = this.#iommufd.find(hwpt);
    if (object?.kind !== 'hwpt') throw fail('ENOENT', `hwpt ${hwpt}`);
    const iova = u64At(bytes, 16);
    const length = u64At(bytes, 24);
    const address = u64At(bytes, 32);
    const half = 2048n;
    if ([iova, length, address].some((each) => each % half !== 0n))
      throw fail('EINVAL', 'unaligned');
    if (address + length >= 1n << 64n) throw fail('EINVAL', 'address + length');
    for (let done = 0n; done < length; done += half) {
      const seen = this.#memory.at(address + done, Number(half));
      if (seen === undefined) throw fail('EFAULT', 'address');
      // Without a translation, which would mark what can only be written as dirty.
      const offset = object.arenaOffsetOf(Number(iova + done));
      const mapped = Buffer.from(this.#parts.arena.buffer, offset ?? 0, Number(half));
      if (offset === undefined || !mapped.equals(seen)) throw fail('EINVAL', 'other memory');
    }
  }

  /** A translation by the table of an HWPT, whether a device is attached to it or not. */
  #lookThrough(hwpt: number): DeviceIommu {
    const object = this.#iommufd.find(hwpt);
    if (object?.kind !== 'hwpt') throw fail('ENOENT', `hwpt ${hwpt}`);
    if (object.format.driver !== mockDriver) throw fail('EINVAL', 'another driver');
    const { pool, control } = this.#parts;
    const pasids = new SharedArrayBuffer(4);
    new Uint32Array(pasids)[0] = object.root;
    const smallestPage = object.format.leafBytes;
    const device = new DeviceIommu({ tables: pool.shared, pasids, control, smallestPage });
    device.park();
    return device;
  }

  #dirty(hwpt: number, bytes: Uint8Array, write: Write): void {
    const [iova, length, pageSize, pointer] = [24, 32, 40, 48].map((at) => u64At(bytes, at));
    if (pageSize === 0n || length === 0n || pointer === 0n) throw fail('EINVAL', 'nothing');
    if (iova! % pageSize! !== 0n || length! % pageSize! !== 0n) throw fail('EINVAL', 'unaligned');
    const bits = length! / pageSize!;
    if (bits > 1n << 27n) throw fail('EOVERFLOW', 'bits');
    const device = this.#lookThrough(hwpt);
    const object = this.#iommufd.find(hwpt);
    if (object?.kind !== 'hwpt' || !object.isTracking) throw fail('EINVAL', 'not tracking');
    const map = this.#memory.at(pointer!, Math.ceil(Number(bits) / 8));
    if (map === undefined) throw fail('EFAULT', 'bits');
    let count = 0;
    for (let bit = 0; bit < Number(bits); bit++) {
      if ((map[bit >> 3]! & (1 << (bit & 7))) === 0) continue;
      device.translate(undefined, Number(iova! + BigInt(bit) * pageSize!), 'write');
      count += 1;
    }
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(56, BigInt(count), true);
    write(bytes, 0);
  }

  #checkIotlb(hwpt: number, entry: number, value: number): void {
    const object = this.#iommufd.find(hwpt);
    if (object?.kind !== 'nested') throw fail('ENOENT', `nested ${hwpt}`);
    if ((object.table as MockTable).iotlb[entry] !== value) throw fail('EINVAL', 'another value');
  }

  #triggerIopf(bytes: Uint8Array): void {
    const [id, pasid, grpid, perm] = [16, 20, 24, 28].map((at) => u32At(bytes, at));
    const mock = [...this.#mocks.values()].find(({ device }) => device.id === id);
    if (mock === undefined) throw fail('ENOENT', `device ${id}`);
    mock.unit.requestPage({
      pasid: pasid === 0 ? undefined : pasid,
      grpid: grpid!,
      perm: perm!,
      addr: u64At(bytes, 32),
      isLast: true,
    });
  }
}

function put(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value, true);
}

function fail(errno: OsError['errno'], detail: string): OsError {
  return new OsError(errno, 'IOMMU_TEST_CMD', detail);
}
