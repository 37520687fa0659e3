// Finds out what the kernel does with dma-bufs of a device, by what it does: never by its version,
// and never by a number that another kernel may give to something else.
//
// Everything is tried on buffers of our own, of one page that nobody touches. Numbers that releases
// of the kernel leave unassigned are first asked about without effect (PROBE); those that are known
// get a request that names no descriptor, and must answer like what is looked for. Only then is a
// buffer named.
import { isOsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { MemoryOs } from '../../os/memory-types.js';
import {
  unassignedFeatures,
  VFIO_DMA_BUF_MEMATTR_NC,
  VFIO_DMA_BUF_MEMATTR_WC,
} from '../../uapi/vfio-dma-buf.js';
import { VFIO_DEVICE_FEATURE_DMA_BUF } from '../../uapi/vfio-features.js';
import type { BackingSpec } from '../types.js';
import { exportDmaBuf, probeFeature, revokeDmaBuf, setDmaBufMemory } from './dma-buf-calls.js';
import type { DmaBufFeatures } from './dma-buf-features.js';
import {
  type DmaBufOffer,
  type Finding,
  type NumberedFinding,
  noDmaBufs,
} from './dma-buf-offer.js';
import type { VfioDevice } from './types.js';

type Mapper = Pick<MemoryOs, 'map' | 'pageBytes'>;

// asm-generic/fcntl.h
const O_PATH = 0o10000000;

const noDescriptor = -1;
const noAttribute = 0xffff_ffff;
const barsMax = 6;

/** @returns Undefined when it succeeded. @throws what is no OsError */
async function errnoFrom(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (isOsError(error)) return error.errno;
    throw error;
  }
}

function no(reason: string): { readonly works: false; readonly reason: string } {
  return { works: false, reason };
}

/** A page that can be exported without harm: it is never touched. */
function scratchOf(device: VfioDevice, pageBytes: number): BackingSpec | undefined {
  for (const { index, mappable } of device.regions.values()) {
    const area = mappable.find(
      ({ offsetBytes, lengthBytes }) => lengthBytes >= pageBytes && offsetBytes % pageBytes === 0,
    );
    if (index >= barsMax || area === undefined) continue;
    const range = { offsetBytes: area.offsetBytes, lengthBytes: pageBytes };
    return { region: index, ranges: [range], access: 'read-write' };
  }
  return undefined;
}

class Prober {
  readonly #device: VfioDevice;
  readonly #memory: Mapper;
  readonly #spec: BackingSpec;

  constructor(device: VfioDevice, memory: Mapper, spec: BackingSpec) {
    this.#device = device;
    this.#memory = memory;
    this.#spec = spec;
  }

  /** Runs over a buffer of its own. @throws OsError of the export */
  async withBuffer<T>(work: (buffer: Fd) => T | Promise<T>): Promise<T> {
    const buffer = await exportDmaBuf(this.#device, this.#spec);
    try {
      return await work(buffer);
    } finally {
      buffer.close();
    }
  }

  /** Maps a buffer and unmaps it again. */
  mapErrno(buffer: Fd): Promise<string | undefined> {
    const { pageBytes } = this.#memory;
    return errnoFrom(() => {
      const spec = { offsetBytes: 0, lengthBytes: pageBytes, writable: true };
      this.#memory.map(buffer, spec)[Symbol.dispose]();
    });
  }

  /**
   * Whether a descriptor that outlives the buffer's file can be had at all, which is harmless as
   * long as the file outlives it again.
   */
  async strangers(buffer: Fd): Promise<Finding> {
    const reopen = (fd: Fd): Promise<string | undefined> =>
      errnoFrom(() => this.#device.os.open(`/proc/self/fd/${fd.number}`, O_PATH).close());
    if ((await reopen(this.#device.fd)) !== undefined) {
      return no('it cannot be tried without /proc');
    }
    if ((await reopen(buffer)) !== undefined) return { works: true };
    return no('the kernel may use what it freed, of a dma-buf that was opened again as O_PATH');
  }

  /** Numbers out of these that the kernel knows, for a set. */
  async known(numbers: readonly number[]): Promise<number[]> {
    const known: number[] = [];
    for (const feature of numbers) {
      const errno = await errnoFrom(() => probeFeature(this.#device, feature, 'set'));
      if (errno === undefined) known.push(feature);
    }
    return known;
  }

  isRevoke(feature: number): Promise<boolean> {
    const device = this.#device;
    return this.withBuffer(async (buffer) => {
      const revoke = (descriptor: number): Promise<string | undefined> =>
        errnoFrom(() => revokeDmaBuf(device, feature, descriptor));
      return (
        (await revoke(noDescriptor)) === 'EBADF' &&
        (await revoke(buffer.number)) === undefined &&
        (await this.mapErrno(buffer)) === 'ENODEV' &&
        (await revoke(buffer.number)) === 'EBADFD'
      );
    });
  }

  isMemory(feature: number): Promise<boolean> {
    const device = this.#device;
    return this.withBuffer(async (buffer) => {
      const set = (descriptor: number, attribute: number): Promise<string | undefined> =>
        errnoFrom(() => setDmaBufMemory(device, feature, descriptor, attribute));
      return (
        (await set(noDescriptor, VFIO_DMA_BUF_MEMATTR_NC)) === 'EBADF' &&
        (await set(buffer.number, noAttribute)) === 'ENOENT' &&
        (await set(buffer.number, VFIO_DMA_BUF_MEMATTR_WC)) === undefined
      );
    });
  }

  /** The first of these numbers that behaves. */
  async find(
    numbers: readonly number[],
    what: string,
    isIt: (feature: number) => Promise<boolean>,
  ): Promise<NumberedFinding> {
    if (numbers.length === 0) return no(`the kernel has no feature to ${what}`);
    for (const feature of numbers) if (await isIt(feature)) return { works: true, feature };
    return no(`none of the features ${numbers.join(', ')} does ${what} as it should`);
  }
}

/** Numbers to ask about, and those of them that each search may try. */
function candidatesOf(features: DmaBufFeatures): { revoke: number[]; memory: number[] } {
  if (features === 'none') return { revoke: [], memory: [] };
  if (features !== 'look') {
    const { revoke, memory } = features;
    return {
      revoke: revoke === undefined ? [] : [revoke],
      memory: memory === undefined ? [] : [memory],
    };
  }
  const { first, last } = unassignedFeatures;
  const all = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return { revoke: all, memory: all };
}

async function probeWith(prober: Prober, features: DmaBufFeatures): Promise<DmaBufOffer> {
  const exported = { works: true } as const;
  const { strangers, mapErrno } = await prober.withBuffer(async (buffer) => ({
    strangers: await prober.strangers(buffer),
    mapErrno: await prober.mapErrno(buffer),
  }));
  if (mapErrno !== undefined) {
    // What takes a buffer back is known by its mappings: without them there is nothing to see.
    const reason = `no dma-buf of the device can be mapped (${mapErrno})`;
    return { export: exported, map: no(reason), revoke: no(reason), memory: no(reason), strangers };
  }
  const map = exported;
  if (features === 'none') {
    const found = no('unassigned feature numbers were not to be tried');
    return { export: exported, map, revoke: found, memory: found, strangers };
  }
  const wanted = candidatesOf(features);
  const revokes = await prober.known(wanted.revoke);
  const revoke = await prober.find(revokes, 'revoke dma-bufs', (one) => prober.isRevoke(one));
  // A request of two numbers is as good to what revokes as one of the first alone.
  const memories = (await prober.known(wanted.memory)).filter(
    (one) => !(revoke.works && revoke.feature === one),
  );
  const memory = await prober.find(memories, 'set their memory', (one) => prober.isMemory(one));
  return { export: exported, map, revoke, memory, strangers };
}

/**
 * Finds out what the kernel does with dma-bufs of a device, whose memory space must be enabled.
 * Leaves nothing behind and touches no register.
 *
 * @throws LessorError `FUNCTION_GONE`
 * @see linux/vfio.h `VFIO_DEVICE_FEATURE_DMA_BUF`
 */
export async function probeDmaBufs(
  device: VfioDevice,
  memory: Mapper,
  features: DmaBufFeatures = 'look',
): Promise<DmaBufOffer> {
  const feature = VFIO_DEVICE_FEATURE_DMA_BUF;
  const errno = await errnoFrom(() => probeFeature(device, feature, 'get'));
  if (errno !== undefined) return noDmaBufs(`the kernel exports no dma-bufs of it (${errno})`);
  const spec = scratchOf(device, memory.pageBytes);
  if (spec === undefined) return noDmaBufs('the device has no region that can be mapped');
  try {
    return await probeWith(new Prober(device, memory, spec), features);
  } catch (error) {
    if (!isOsError(error)) throw error;
    return noDmaBufs(`the kernel exported no page of region ${spec.region}: ${error.message}`);
  }
}
