// The client's side: negotiation, and one method per command. What the server answers is judged
// here like any input from outside.
import type { Clock } from '../base/clock.js';
import { LessorError, OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { StreamSocket } from '../os/socket-types.js';
import { findSparseAreas, type SparseArea } from '../uapi/region-caps.js';
import type { Struct } from '../uapi/struct.js';
import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/vfio.js';
import {
  deviceInfo,
  dmaMap,
  dmaUnmap,
  irqInfo,
  regionAccess,
  regionInfo,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
  VFIO_USER_F_DMA_UNMAP_ALL,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_MINOR,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_VERSION,
  versionHeader,
} from '../uapi/vfio-user.js';
import type { DmaMapRequest, DmaRange, IrqChange } from './endpoint.js';
import { errorFrame, frame, headerBytes, type Message } from './framing.js';
import { Link } from './link.js';
import { encodeIrqChange } from './set-irqs.js';
import { type Capabilities, decodeVersion, encodeVersion, ownCapabilities } from './version.js';

export interface VfioUserClientOptions {
  readonly clock: Clock;
  /** Time for one reply. Default 5 s. */
  readonly deadlineMs?: number;
  readonly capabilities?: Partial<Capabilities>;
}

export interface VfioUserDeviceInfo {
  readonly regionCount: number;
  readonly irqCount: number;
  readonly flags: number;
  readonly resettable: boolean;
}

export interface VfioUserRegionInfo {
  readonly index: number;
  readonly lengthBytes: number;
  readonly flags: number;
  readonly readable: boolean;
  readonly writable: boolean;
  /** What may be mapped; empty without `fd`. */
  readonly areas: readonly SparseArea[];
  /** The caller owns it. */
  readonly fd: Fd | undefined;
  /** Where the region's first byte lies in the file of `fd`. */
  readonly fdOffsetBytes: number;
}

const deadlineMsDefault = 5000;
/** QEMU draws the same lines. */
const regionCountMax = 100;
const irqCountMax = 50;
/** Room for a sparse list of 60 areas in the first try. */
const regionInfoGuessBytes = 1024;

const noBytes = new Uint8Array(0);
const addressEnd = 1n << 64n;
type Width = 1 | 2 | 4 | 8;

/** Refuses what the caller of the client got wrong. */
function check(condition: boolean, detail: string): void {
  if (!condition) throw new LessorError('INVALID_ARGUMENT', detail);
}

function checkU64(value: bigint, what: string): void {
  check(value >= 0n && value < addressEnd, `${what} ${value} is not below 2^64`);
}

function sameBytes(one: Uint8Array, other: Uint8Array, bytes: number): boolean {
  for (let i = 0; i < bytes; i++) if (one[i] !== other[i]) return false;
  return true;
}

/** A connection to a served device. Requests may overlap; the server takes them in order. */
export class VfioUserClient implements Disposable {
  readonly #link: Link;
  readonly #deadlineMs: number;
  readonly #closed = new Listeners<Error | undefined>();
  #peer: Capabilities = ownCapabilities;
  #dataBytesMax: number = limits.vfioUserDataBytesMax;

  private constructor(socket: StreamSocket, options: VfioUserClientOptions) {
    this.#deadlineMs = options.deadlineMs ?? deadlineMsDefault;
    const handler = {
      commandHeader() {},
      command: (message: Message) => this.#refuseCommand(message),
      ended: (error: Error | undefined) => this.#closed.emit(error),
    };
    this.#link = new Link(socket, handler, options.clock);
  }

  /** @see connectVfioUser */
  static async connect(
    socket: StreamSocket,
    options: VfioUserClientOptions,
  ): Promise<VfioUserClient> {
    const client = new VfioUserClient(socket, options);
    client.#link.start(undefined);
    try {
      await client.#negotiate({ ...ownCapabilities, ...options.capabilities });
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  /** What the server said of itself. */
  get peer(): Capabilities {
    return this.#peer;
  }

  /** Called once when the server is gone or broke the protocol; not after `close`. */
  onClosed(listener: (error: Error | undefined) => void): Disposable {
    return this.#closed.add(listener);
  }

  /** Closes at once; what still waits for a reply is rejected with OsError `ECANCELED`. */
  close(): void {
    this.#link.close(new OsError('ECANCELED', 'vfio-user', 'closed here'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @see vfio-user DEVICE_GET_INFO */
  async deviceInfo(): Promise<VfioUserDeviceInfo> {
    const argsz = deviceInfo.sizeBytes;
    const ask = deviceInfo.encode({ argsz, flags: 0, numRegions: 0, numIrqs: 0 });
    const { payload } = await this.#call(VFIO_USER_DEVICE_GET_INFO, ask, argsz);
    const { flags, numRegions, numIrqs } = this.#decode(deviceInfo, payload);
    if (numRegions > regionCountMax || numIrqs > irqCountMax) {
      this.#broken(deviceInfo.name, 8, `${numRegions} regions, ${numIrqs} interrupt indexes`);
    }
    const resettable = (flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
    return { regionCount: numRegions, irqCount: numIrqs, flags, resettable };
  }

  /**
   * Describes a region and, where it may be mapped, gives the descriptor to map it from.
   *
   * @see vfio-user DEVICE_GET_REGION_INFO
   */
  async regionInfo(index: number): Promise<VfioUserRegionInfo> {
    let reply = await this.#askRegion(index, regionInfoGuessBytes);
    let { argsz } = this.#decodeRegion(reply, index);
    if (argsz > Math.max(regionInfoGuessBytes, reply.payload.length)) {
      closeAll(reply.fds);
      if (argsz > limits.vfioUserRegionInfoBytesMax) {
        this.#broken(`${regionInfo.name}.argsz`, 0, `${argsz} bytes of region information`);
      }
      reply = await this.#askRegion(index, argsz);
      ({ argsz } = this.#decodeRegion(reply, index));
    }
    if (argsz !== reply.payload.length) {
      closeAll(reply.fds);
      this.#broken(`${regionInfo.name}.argsz`, 0, `${argsz}, not ${reply.payload.length}`);
    }
    return this.#readRegionInfo(reply, index);
  }

  /** @see vfio-user DEVICE_GET_IRQ_INFO */
  async irqInfo(index: number): Promise<{ readonly count: number; readonly flags: number }> {
    const argsz = irqInfo.sizeBytes;
    const ask = irqInfo.encode({ argsz, flags: 0, index, count: 0 });
    const { payload } = await this.#call(VFIO_USER_DEVICE_GET_IRQ_INFO, ask, argsz);
    const { flags, count, index: answered } = this.#decode(irqInfo, payload);
    if (answered !== index) this.#broken(`${irqInfo.name}.index`, 8, `${answered}`);
    return { count, flags };
  }

  /**
   * Binds, unbinds or drives interrupts. Takes ownership of the descriptors of a `bind` in every
   * outcome. A bind of more than the server can receive at once is several messages: when one
   * fails, those before it hold.
   *
   * @see vfio-user DEVICE_SET_IRQS
   */
  async setIrqs(change: IrqChange): Promise<void> {
    const fds = change.action === 'bind' ? change.fds : [];
    let sent = 0;
    try {
      const fdsMax = Math.min(this.#peer.maxMsgFds, limits.vfioUserFdsMax);
      if (fds.length > 0 && fdsMax === 0) {
        throw new LessorError('UNSUPPORTED', 'the server takes no descriptors');
      }
      for (const message of encodeIrqChange(change, fdsMax)) {
        sent += message.fds?.length ?? 0;
        await this.#call(VFIO_USER_DEVICE_SET_IRQS, message.payload, 0, message.fds);
      }
    } finally {
      closeAll(fds.slice(sent));
    }
  }

  /**
   * Reads bytes of a region, in as many messages as the server's maximum needs; a width that a
   * register knows is one access.
   *
   * @see vfio-user REGION_READ
   */
  async regionRead(region: number, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (lengthBytes > 0 && lengthBytes <= this.#dataBytesMax) {
      const reply = await this.#readOnce(region, offsetBytes, lengthBytes);
      return reply.payload.subarray(regionAccess.sizeBytes);
    }
    check(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0, `length ${lengthBytes}`);
    const all = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes; done += this.#dataBytesMax) {
      const count = Math.min(this.#dataBytesMax, lengthBytes - done);
      const { payload } = await this.#readOnce(region, offsetBytes + done, count);
      all.set(payload.subarray(regionAccess.sizeBytes), done);
    }
    return all;
  }

  /** Writes bytes of a region. @see regionRead, vfio-user REGION_WRITE */
  async regionWrite(region: number, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; done += this.#dataBytesMax) {
      const part = bytes.subarray(done, done + this.#dataBytesMax);
      const ask = this.#accessFrame(VFIO_USER_REGION_WRITE, region, offsetBytes + done, part, 0);
      const reply = await this.#request(VFIO_USER_REGION_WRITE, ask, regionAccess.sizeBytes);
      this.#checkEcho(ask, reply.payload, regionAccess.sizeBytes);
    }
  }

  /** Writes without waiting and without learning of an error (No_reply). */
  regionWritePosted(region: number, offsetBytes: number, bytes: Uint8Array): void {
    check(bytes.length <= this.#dataBytesMax, `${bytes.length} bytes in one posted write`);
    const flags = VFIO_USER_F_NO_REPLY;
    this.#link.send(this.#accessFrame(VFIO_USER_REGION_WRITE, region, offsetBytes, bytes, flags));
  }

  /** One access of one byte. */
  async read8(region: number, offsetBytes: number): Promise<number> {
    return (await this.#readValue(region, offsetBytes, 1)).getUint8(0);
  }

  async read16(region: number, offsetBytes: number): Promise<number> {
    return (await this.#readValue(region, offsetBytes, 2)).getUint16(0, true);
  }

  async read32(region: number, offsetBytes: number): Promise<number> {
    return (await this.#readValue(region, offsetBytes, 4)).getUint32(0, true);
  }

  async read64(region: number, offsetBytes: number): Promise<bigint> {
    return (await this.#readValue(region, offsetBytes, 8)).getBigUint64(0, true);
  }

  /** One access of one byte; the value is cut to its width. */
  write8(region: number, offsetBytes: number, value: number): Promise<void> {
    return this.regionWrite(region, offsetBytes, Uint8Array.of(value));
  }

  write16(region: number, offsetBytes: number, value: number): Promise<void> {
    return this.regionWrite(region, offsetBytes, Uint8Array.of(value, value >> 8));
  }

  write32(region: number, offsetBytes: number, value: number): Promise<void> {
    const bytes = Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
    return this.regionWrite(region, offsetBytes, bytes);
  }

  write64(region: number, offsetBytes: number, value: bigint): Promise<void> {
    return this.regionWrite(region, offsetBytes, new Uint8Array(BigUint64Array.of(value).buffer));
  }

  /**
   * Lets the device reach memory. Takes ownership of `request.fd` in every outcome.
   *
   * @see vfio-user DMA_MAP
   */
  async dmaMap(request: DmaMapRequest): Promise<void> {
    const fds = request.fd === undefined ? [] : [request.fd];
    let ask: Uint8Array;
    try {
      checkU64(request.iova, 'iova');
      checkU64(request.lengthBytes, 'length');
      checkU64(request.offsetBytes, 'offset');
      if (fds.length > this.#peer.maxMsgFds) {
        throw new LessorError('UNSUPPORTED', 'the server takes no descriptors');
      }
      const read = request.readable ? VFIO_USER_F_DMA_REGION_READ : 0;
      const write = request.writable ? VFIO_USER_F_DMA_REGION_WRITE : 0;
      ask = dmaMap.encode({
        argsz: dmaMap.sizeBytes,
        flags: read | write,
        offset: request.offsetBytes,
        address: request.iova,
        size: request.lengthBytes,
      });
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    await this.#call(VFIO_USER_DMA_MAP, ask, 0, fds);
  }

  /** Resolves when the device can no longer reach the range. @see vfio-user DMA_UNMAP */
  async dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    const { iova, lengthBytes } = range === 'all' ? { iova: 0n, lengthBytes: 0n } : range;
    checkU64(iova, 'iova');
    checkU64(lengthBytes, 'length');
    const flags = range === 'all' ? VFIO_USER_F_DMA_UNMAP_ALL : 0;
    const argsz = dmaUnmap.sizeBytes;
    const ask = dmaUnmap.encode({ argsz, flags, address: iova, size: lengthBytes });
    await this.#call(VFIO_USER_DMA_UNMAP, ask, argsz);
  }

  /** @param deadlineMs - A reset may take long; default as for every request. */
  async reset(deadlineMs = this.#deadlineMs): Promise<void> {
    await this.#call(VFIO_USER_DEVICE_RESET, noBytes, 0, undefined, deadlineMs);
  }

  async #negotiate(own: Capabilities): Promise<void> {
    const ask = encodeVersion(VFIO_USER_MINOR, own);
    const replyMax = versionHeader.sizeBytes + limits.vfioUserVersionBytesMax;
    const { payload } = await this.#call(VFIO_USER_VERSION, ask, replyMax);
    const { minor, capabilities } = decodeVersion(payload);
    if (minor > VFIO_USER_MINOR) {
      this.#broken('vfio_user_version.minor', 2, `minor version ${minor} was not proposed`);
    }
    this.#peer = capabilities;
    this.#dataBytesMax = Math.min(own.maxDataXferBytes, capabilities.maxDataXferBytes);
  }

  /** Sends a command with a payload; its reply has at most `replyBytesMax` bytes of payload. */
  #call(
    command: number,
    payload: Uint8Array,
    replyBytesMax: number,
    fds?: readonly Fd[],
    deadlineMs?: number,
  ): Promise<Message> {
    const bytes = frame(0, command, VFIO_USER_F_TYPE_COMMAND, payload.length);
    bytes.set(payload, headerBytes);
    return this.#request(command, bytes, replyBytesMax, fds, deadlineMs);
  }

  #request(
    command: number,
    bytes: Uint8Array,
    payloadBytesMax: number,
    fds?: readonly Fd[],
    deadlineMs = this.#deadlineMs,
  ): Promise<Message> {
    const fdsMax = command === VFIO_USER_DEVICE_GET_REGION_INFO ? 1 : 0;
    return this.#link.request(bytes, command, fds, { payloadBytesMax, fdsMax, deadlineMs });
  }

  #accessFrame(
    command: number,
    region: number,
    offset: number,
    data: Uint8Array | number,
    flags: number,
  ): Uint8Array {
    const count = typeof data === 'number' ? data : data.length;
    check(Number.isInteger(region) && region >= 0 && region < 2 ** 32, `region ${region}`);
    check(Number.isSafeInteger(offset) && offset >= 0, `offset ${offset}`);
    const dataBytes = typeof data === 'number' ? 0 : count;
    const bytes = frame(0, command, flags, regionAccess.sizeBytes + dataBytes);
    regionAccess.encodeAt({ offset, region, count }, bytes, headerBytes);
    if (typeof data !== 'number') bytes.set(data, headerBytes + regionAccess.sizeBytes);
    return bytes;
  }

  async #readOnce(region: number, offsetBytes: number, lengthBytes: number): Promise<Message> {
    const ask = this.#accessFrame(VFIO_USER_REGION_READ, region, offsetBytes, lengthBytes, 0);
    const replyBytes = regionAccess.sizeBytes + lengthBytes;
    const reply = await this.#request(VFIO_USER_REGION_READ, ask, replyBytes);
    this.#checkEcho(ask, reply.payload, replyBytes);
    return reply;
  }

  async #readValue(region: number, offsetBytes: number, width: Width): Promise<DataView> {
    const { payload } = await this.#readOnce(region, offsetBytes, width);
    return new DataView(payload.buffer, payload.byteOffset + regionAccess.sizeBytes, width);
  }

  /** A reply to a region access repeats the request's fixed part. */
  #checkEcho(ask: Uint8Array, payload: Uint8Array, payloadBytes: number): void {
    const { name, sizeBytes } = regionAccess;
    if (payload.length !== payloadBytes) this.#broken(name, 0, `${payload.length} bytes`);
    if (sameBytes(ask.subarray(headerBytes), payload, sizeBytes)) return;
    this.#broken(name, 0, 'the reply is about another access');
  }

  #askRegion(index: number, argsz: number): Promise<Message> {
    const value = { argsz, flags: 0, index, capOffset: 0, size: 0, offset: 0 };
    const ask = regionInfo.encode(value);
    return this.#call(VFIO_USER_DEVICE_GET_REGION_INFO, ask, argsz);
  }

  #decodeRegion({ payload, fds }: Message, index: number) {
    try {
      const info = regionInfo.decodeAt(payload, 0);
      if (info.index === index) return info;
      throw new ProtocolError(`${regionInfo.name}.index`, 8, `${info.index} instead of ${index}`);
    } catch (error) {
      closeAll(fds);
      this.#link.fail(error as Error);
      throw error;
    }
  }

  #readRegionInfo(reply: Message, index: number): VfioUserRegionInfo {
    const { flags, size, offset, capOffset } = this.#decodeRegion(reply, index);
    const [given] = reply.fds;
    const isMappable = (flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0 && given !== undefined;
    const chainOffset = (flags & VFIO_REGION_INFO_FLAG_CAPS) !== 0 ? capOffset : 0;
    let areas: readonly SparseArea[] = [];
    try {
      const whole = [{ offsetBytes: 0, lengthBytes: size }];
      if (isMappable) areas = findSparseAreas(reply.payload, chainOffset, size) ?? whole;
    } catch (error) {
      closeAll(reply.fds);
      this.#link.fail(error as Error);
      throw error;
    }
    if (!isMappable) closeAll(reply.fds);
    return {
      index,
      lengthBytes: size,
      flags,
      readable: (flags & VFIO_REGION_INFO_FLAG_READ) !== 0,
      writable: (flags & VFIO_REGION_INFO_FLAG_WRITE) !== 0,
      areas,
      fd: isMappable ? given : undefined,
      fdOffsetBytes: offset,
    };
  }

  #decode<T>(codec: Struct<T>, payload: Uint8Array): T {
    try {
      return codec.decode(payload);
    } catch (error) {
      this.#link.fail(error as Error);
      throw error;
    }
  }

  /** The server sent nonsense: nothing that it says is believed any more. */
  #broken(field: string, offsetBytes: number, detail: string): never {
    const error = new ProtocolError(field, offsetBytes, detail, { errno: 'EPROTO' });
    this.#link.fail(error);
    throw error;
  }

  /** Memory is not served by message: the server hears that there is no such command. */
  #refuseCommand({ header, fds }: Message): void {
    closeAll(fds);
    if ((header.flags & VFIO_USER_F_NO_REPLY) !== 0) return;
    this.#link.send(errorFrame(header, 'ENOSYS'));
  }
}

/**
 * Negotiates on a connected socket.
 *
 * @param socket - Not yet started; ownership passes, also when this rejects.
 * @throws OsError with the server's errno, ProtocolError, LessorError `DEADLINE_EXCEEDED`.
 */
export function connectVfioUser(
  socket: StreamSocket,
  options: VfioUserClientOptions,
): Promise<VfioUserClient> {
  return VfioUserClient.connect(socket, options);
}
