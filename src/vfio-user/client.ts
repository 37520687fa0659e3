// The client: one method per command of the protocol.
import { LessorError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { StreamSocket } from '../os/socket-types.js';
import { u16, u32, u64 } from '../uapi/struct.js';
import { VFIO_DEVICE_FLAGS_RESET } from '../uapi/vfio.js';
import {
  deviceInfo,
  dmaMap,
  dmaUnmap,
  irqInfo,
  regionAccess,
  regionInfo,
  regionIoFds,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  VFIO_USER_F_DMA_UNMAP_ALL,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_REGION_WRITE,
} from '../uapi/vfio-user.js';
import { unmapDirty } from './dma/unmap-dirty.js';
import type { DmaMapRequest, DmaRange, IrqChange, MaskEventChange } from './endpoint.js';
import { headerBytes, type Message } from './framing.js';
import { readRegionIoFds, type VfioUserIoFd } from './io-fds.js';
import { probeFeature, VfioUserDirtyPages, VfioUserMigration } from './migration/client.js';
import { accessFrame, readAll, readOnce, writeAll, writeOnce } from './region-access.js';
import { readRegionInfo, type VfioUserRegionInfo } from './region-info.js';
import { Requester, type VfioUserClientOptions } from './requester.js';
import { bindRuns, encodeIrqChange, encodeMaskEvents } from './set-irqs.js';
import type { Capabilities } from './version.js';
import { multiFrame, type SmallWrite, sendMulti } from './write-multi-client.js';

export interface VfioUserDeviceInfo {
  readonly regionCount: number;
  readonly irqCount: number;
  /** VFIO_DEVICE_FLAGS_* as the server gave them. */
  readonly flags: number;
  readonly resettable: boolean;
}

export interface VfioUserIrqInfo {
  readonly count: number;
  /** VFIO_IRQ_INFO_* as the server gave them. */
  readonly flags: number;
}

/** QEMU draws the same lines. */
const regionCountMax = 100;
const irqCountMax = 50;
/** Room for a list of 61 mappable areas in the first try. */
const regionInfoGuessBytes = 1024;
/** Room for 64 entries as long as those of libvfio-user. */
const ioFdsGuessBytes = 16 + 64 * 48;
const noBytes = new Uint8Array(0);

function checkU64(value: bigint, what: string): void {
  if (value >= 0n && value < 1n << 64n) return;
  throw new LessorError('INVALID_ARGUMENT', `${what} ${value} is not below 2^64`);
}

/** An index goes into a u32 field. */
function checkIndex(value: number): void {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) return;
  throw new LessorError('INVALID_ARGUMENT', `index ${value}`);
}

function nothing(): void {}

function encodeDmaMap(request: DmaMapRequest): Uint8Array {
  const { iova, lengthBytes, offsetBytes, readable, writable } = request;
  checkU64(iova, 'iova');
  checkU64(lengthBytes, 'length');
  checkU64(offsetBytes, 'offset');
  const read = readable ? VFIO_USER_F_DMA_REGION_READ : 0;
  const write = writable ? VFIO_USER_F_DMA_REGION_WRITE : 0;
  const argsz = dmaMap.sizeBytes;
  const flags = read | write;
  return dmaMap.encode({ argsz, flags, offset: offsetBytes, address: iova, size: lengthBytes });
}

/**
 * A connection to a served device. Requests may overlap; the server takes them in order. Methods
 * reject with OsError and the server's errno, LessorError `DEADLINE_EXCEEDED` or
 * `INVALID_ARGUMENT`, ProtocolError when the server answered nonsense (the connection is closed
 * then), OsError `EPIPE` or `ECANCELED` on a closed connection.
 */
export class VfioUserClient implements Disposable {
  readonly #requester: Requester;
  readonly migration: VfioUserMigration;
  readonly dirtyPages: VfioUserDirtyPages;

  /** @see connectVfioUser */
  constructor(requester: Requester) {
    this.#requester = requester;
    this.migration = new VfioUserMigration(requester);
    this.dirtyPages = new VfioUserDirtyPages(requester);
  }

  get isOpen(): boolean {
    return this.#requester.isOpen;
  }

  /** What the server said of itself. */
  get peer(): Capabilities {
    return this.#requester.peer;
  }

  /** Called once when the server is gone or broke the protocol; not after `close`. */
  onClosed(listener: (error: Error | undefined) => void): Disposable {
    return this.#requester.onClosed(listener);
  }

  /** Closes at once; what still waits for a reply is rejected with OsError `ECANCELED`. */
  close(): void {
    this.#requester.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @see vfio-user DEVICE_GET_INFO */
  deviceInfo(): Promise<VfioUserDeviceInfo> {
    const argsz = deviceInfo.sizeBytes;
    const ask = deviceInfo.encode({ argsz, flags: 0, numRegions: 0, numIrqs: 0 });
    const terms = { replyBytesMax: argsz };
    return this.#requester.call(VFIO_USER_DEVICE_GET_INFO, ask, terms, ({ payload }) => {
      const { flags, numRegions, numIrqs } = deviceInfo.decode(payload);
      if (numRegions > regionCountMax || numIrqs > irqCountMax) {
        const detail = `${numRegions} regions, ${numIrqs} interrupt indexes`;
        throw new ProtocolError(`${deviceInfo.name}.numRegions`, 8, detail);
      }
      const resettable = (flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
      return { regionCount: numRegions, irqCount: numIrqs, flags, resettable };
    });
  }

  /**
   * Describes a region and, where it may be mapped, gives the descriptor to map it from. Asks a
   * second time when the list of areas did not fit.
   *
   * @see vfio-user DEVICE_GET_REGION_INFO
   */
  async regionInfo(index: number): Promise<VfioUserRegionInfo> {
    checkIndex(index);
    const first = await this.#askRegion(index, regionInfoGuessBytes, (info) => info);
    if (typeof first !== 'number') return first;
    return this.#askRegion(index, first, (info) => {
      if (typeof info !== 'number') return info;
      throw new ProtocolError(`${regionInfo.name}.argsz`, 0, `${first} bytes, then ${info}`);
    });
  }

  /** @see vfio-user DEVICE_GET_IRQ_INFO */
  async irqInfo(index: number): Promise<VfioUserIrqInfo> {
    checkIndex(index);
    const argsz = irqInfo.sizeBytes;
    const ask = irqInfo.encode({ argsz, flags: 0, index, count: 0 });
    const terms = { replyBytesMax: argsz };
    return this.#requester.call(VFIO_USER_DEVICE_GET_IRQ_INFO, ask, terms, ({ payload }) => {
      const { flags, count } = irqInfo.decode(payload);
      return { flags, count };
    });
  }

  /**
   * Binds, unbinds or drives interrupts. Takes ownership of the descriptors of a `bind` in every
   * outcome. A bind of more than the server can receive at once is several messages: when one
   * fails, those before it hold.
   *
   * @see vfio-user DEVICE_SET_IRQS
   */
  setIrqs(change: IrqChange): Promise<void> {
    const fds = change.action === 'bind' ? change.fds : [];
    return this.#sendIrqs(change.index, fds, (fdsMax) => encodeIrqChange(change, fdsMax));
  }

  /**
   * Has eventfds signalled when vectors are masked or unmasked. Takes ownership of them in every
   * outcome; several messages as in `setIrqs`.
   *
   * @see vfio-user DEVICE_SET_IRQS
   */
  setMaskEvents(change: MaskEventChange): Promise<void> {
    const { index, fds } = change;
    return this.#sendIrqs(index, fds, (fdsMax) => encodeMaskEvents(change, fdsMax));
  }

  /**
   * Binds some vectors from `start` on and unbinds the others, a message for each run of either.
   * When one fails, those before it hold. Takes ownership of the descriptors in every outcome.
   *
   * @param fds - For one vector after the other; undefined unbinds it.
   */
  async bindIrqs(index: number, start: number, fds: readonly (Fd | undefined)[]): Promise<void> {
    const left = new Set(fds.filter((fd) => fd !== undefined));
    try {
      for (const change of bindRuns(index, start, fds)) {
        if (change.action === 'bind') for (const fd of change.fds) left.delete(fd);
        await this.setIrqs(change);
      }
    } finally {
      closeAll(left);
    }
  }

  async #sendIrqs(
    index: number,
    fds: readonly Fd[],
    encode: (fdsMax: number) => ReturnType<typeof encodeIrqChange>,
  ): Promise<void> {
    let sentCount = 0;
    try {
      checkIndex(index);
      // A server that takes none is asked with one, and `call` says so.
      for (const message of encode(Math.max(1, this.#requester.fdsMax))) {
        const terms = message.fds === undefined ? {} : { fds: message.fds };
        sentCount += message.fds?.length ?? 0;
        await this.#requester.call(VFIO_USER_DEVICE_SET_IRQS, message.payload, terms, nothing);
      }
    } finally {
      closeAll(fds.slice(sentCount));
    }
  }

  /**
   * Reads bytes of a region, in as many messages as the maximum of either side needs. A length of
   * 1, 2, 4 or 8 is one access of that width.
   *
   * @see vfio-user REGION_READ
   */
  regionRead(region: number, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    return readAll(this.#requester, region, offsetBytes, lengthBytes);
  }

  /** Writes bytes of a region. @see regionRead, vfio-user REGION_WRITE */
  regionWrite(region: number, offsetBytes: number, data: Uint8Array): Promise<void> {
    return writeAll(this.#requester, region, offsetBytes, data);
  }

  /**
   * Sends at once what was asked for so far. Requests of one turn are else sent together when the
   * running code gives way: a caller that spins on memory until the device has seen a posted write
   * would wait for ever.
   */
  flush(): void {
    this.#requester.flush();
  }

  /**
   * Writes without waiting and without learning of an error (No_reply).
   *
   * @see flush
   */
  regionWritePosted(region: number, offsetBytes: number, data: Uint8Array): void {
    if (data.length > this.#requester.dataBytesMax) {
      throw new LessorError('INVALID_ARGUMENT', `${data.length} bytes in one posted write`);
    }
    const { length } = data;
    const flags = VFIO_USER_F_NO_REPLY;
    const ask = accessFrame(VFIO_USER_REGION_WRITE, flags, region, offsetBytes, length);
    ask.set(data, headerBytes + regionAccess.sizeBytes);
    this.#requester.post(ask);
  }

  /**
   * Several small writes in one message, in order.
   *
   * @returns How many were done: fewer when one of them failed, the first of them excepted, whose
   *   errno rejects.
   * @throws LessorError `UNSUPPORTED` when the server does not take it.
   * @see vfio-user REGION_WRITE_MULTI
   */
  async regionWriteMulti(writes: readonly SmallWrite[]): Promise<number> {
    return sendMulti(this.#requester, writes);
  }

  /** As `regionWriteMulti`, without waiting and without learning of an error (No_reply). */
  regionWriteMultiPosted(writes: readonly SmallWrite[]): void {
    this.#requester.post(multiFrame(this.#requester, writes, VFIO_USER_F_NO_REPLY));
  }

  /**
   * Descriptors by which registers of a region are reached without a message. Asks a second time
   * when the list did not fit.
   *
   * @see vfio-user DEVICE_GET_REGION_IO_FDS
   */
  async regionIoFds(index: number): Promise<readonly VfioUserIoFd[]> {
    checkIndex(index);
    const first = await this.#askIoFds(index, ioFdsGuessBytes, (entries) => entries);
    if (typeof first !== 'number') return first;
    return this.#askIoFds(index, first, (entries) => {
      if (typeof entries !== 'number') return entries;
      throw new ProtocolError(`${regionIoFds.name}.argsz`, 0, `${first} bytes, then ${entries}`);
    });
  }

  /** @see probeFeature */
  async probeFeature(feature: number, operations: number): Promise<void> {
    await probeFeature(this.#requester, feature, operations);
  }

  /** One access of the width in the name, as for all of `read8` to `write64`. */
  read8(region: number, offsetBytes: number): Promise<number> {
    return readOnce(this.#requester, region, offsetBytes, 1, (data, at) => data[at] as number);
  }

  read16(region: number, offsetBytes: number): Promise<number> {
    return readOnce(this.#requester, region, offsetBytes, 2, (data, at) =>
      u16.read(data, at, 'value'),
    );
  }

  read32(region: number, offsetBytes: number): Promise<number> {
    return readOnce(this.#requester, region, offsetBytes, 4, (data, at) =>
      u32.read(data, at, 'value'),
    );
  }

  read64(region: number, offsetBytes: number): Promise<bigint> {
    return readOnce(this.#requester, region, offsetBytes, 8, (data, at) =>
      u64.read(data, at, 'value'),
    );
  }

  /** The value is cut to its width, as for all of `write8` to `write64`. */
  write8(region: number, offsetBytes: number, value: number): Promise<void> {
    return writeOnce(this.#requester, region, offsetBytes, Uint8Array.of(value));
  }

  write16(region: number, offsetBytes: number, value: number): Promise<void> {
    return writeOnce(this.#requester, region, offsetBytes, Uint8Array.of(value, value >> 8));
  }

  write32(region: number, offsetBytes: number, value: number): Promise<void> {
    const bytes = Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
    return writeOnce(this.#requester, region, offsetBytes, bytes);
  }

  write64(region: number, offsetBytes: number, value: bigint): Promise<void> {
    const bytes = new Uint8Array(8);
    u64.write(bytes, 0, BigInt.asUintN(64, value), 'value');
    return writeOnce(this.#requester, region, offsetBytes, bytes);
  }

  /**
   * Lets the device reach memory. Takes ownership of `request.fd` in every outcome.
   *
   * @see vfio-user DMA_MAP
   */
  async dmaMap(request: DmaMapRequest): Promise<void> {
    let ask: Uint8Array;
    try {
      ask = encodeDmaMap(request);
    } catch (error) {
      request.fd?.close();
      throw error;
    }
    const terms = request.fd === undefined ? {} : { fds: [request.fd] };
    await this.#requester.call(VFIO_USER_DMA_MAP, ask, terms, nothing);
  }

  /** Resolves when the device can no longer reach the range. @see vfio-user DMA_UNMAP */
  async dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    const { iova, lengthBytes } = range === 'all' ? { iova: 0n, lengthBytes: 0n } : range;
    checkU64(iova, 'iova');
    checkU64(lengthBytes, 'length');
    const flags = range === 'all' ? VFIO_USER_F_DMA_UNMAP_ALL : 0;
    const argsz = dmaUnmap.sizeBytes;
    const ask = dmaUnmap.encode({ argsz, flags, address: iova, size: lengthBytes });
    await this.#requester.call(VFIO_USER_DMA_UNMAP, ask, { replyBytesMax: argsz }, nothing);
  }

  /**
   * As `dmaUnmap`, and tells which pages the device wrote before, as `dirtyPages.report`.
   *
   * @param pageBytes - What one bit stands for, a power of two.
   */
  async dmaUnmapDirty(range: DmaRange, pageBytes: number): Promise<Uint8Array> {
    return unmapDirty(this.#requester, range, pageBytes);
  }

  /** @param deadlineMs - A reset may take long; default as for every request. */
  reset(deadlineMs = this.#requester.deadlineMs): Promise<void> {
    return this.#requester.call(VFIO_USER_DEVICE_RESET, noBytes, { deadlineMs }, nothing);
  }

  #askIoFds<T>(
    index: number,
    argsz: number,
    judge: (entries: readonly VfioUserIoFd[] | number) => T,
  ): Promise<T> {
    const ask = regionIoFds.encode({ argsz, flags: 0, index, count: 0 });
    const terms = { replyBytesMax: argsz, replyFdsMax: limits.vfioUserFdsMax };
    const read = (reply: Message) => judge(readRegionIoFds(reply, index, argsz));
    return this.#requester.call(VFIO_USER_DEVICE_GET_REGION_IO_FDS, ask, terms, read);
  }

  #askRegion<T>(
    index: number,
    argsz: number,
    judge: (info: VfioUserRegionInfo | number) => T,
  ): Promise<T> {
    const value = { argsz, flags: 0, index, capOffset: 0, size: 0, offset: 0 };
    const ask = regionInfo.encode(value);
    const read = (reply: Message) => judge(readRegionInfo(reply, index, argsz));
    const terms = { replyBytesMax: argsz, replyFdsMax: 1 };
    return this.#requester.call(VFIO_USER_DEVICE_GET_REGION_INFO, ask, terms, read);
  }
}

/**
 * Negotiates on a connected socket.
 *
 * @param socket - Not yet started; ownership passes, also when this rejects.
 * @param negotiationMs - Time for it. Default as for every request.
 * @throws OsError with the server's errno, `EPIPE` or `ECANCELED` when it was aborted;
 *   ProtocolError, LessorError `DEADLINE_EXCEEDED`.
 */
export async function connectVfioUser(
  socket: StreamSocket,
  options: VfioUserClientOptions,
  negotiationMs?: number,
): Promise<VfioUserClient> {
  const requester = new Requester(socket, options);
  const { signal } = options;
  const abort = (): void => requester.close();
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  try {
    await requester.negotiate(negotiationMs ?? requester.deadlineMs);
  } catch (error) {
    requester.close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  return new VfioUserClient(requester);
}
