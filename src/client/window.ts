// A register window of a lease, as its client sees it: mapped, or by message.
import { isOsError, LessorError } from '../base/errors.js';
import type { WindowMemory } from '../base/labels.js';
import type { Mapping } from '../os/memory-types.js';
import type { VfioUserClient } from '../vfio-user/client.js';

export interface WindowPlace {
  readonly name: string;
  /** Region of the lease's vfio-user device, and the window's place in it. */
  readonly region: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly access: 'read-write' | 'read';
  /** What a mapping of it may do at most. */
  readonly memory: WindowMemory;
}

/** What both kinds offer; one access of the named width each. */
export interface WindowBase extends WindowPlace {
  /** @throws LessorError `WINDOW_REVOKED`, `INVALID_ARGUMENT` */
  read32(offsetBytes: number): Promise<number>;
  /** @throws LessorError `WINDOW_READ_ONLY`, `WINDOW_REVOKED`, `INVALID_ARGUMENT` */
  write32(offsetBytes: number, value: number): Promise<void>;
  /**
   * Sends a write by message, mapped or not, before this returns; hears nothing of it again. So
   * even a client that spins and takes no answers can ring a doorbell.
   *
   * @throws LessorError `WINDOW_READ_ONLY`, `INVALID_ARGUMENT`
   */
  postMessage32(offsetBytes: number, value: number): void;
}

/**
 * Registers mapped into this process: loads and stores reach the device with no system call. After
 * a revoke every load reads all ones until this client stores there. Storing through the arrays
 * of a read-only window is SIGSEGV, as in C. The arrays are detached when the lease is closed.
 */
export interface MappedWindow extends WindowBase {
  readonly kind: 'mapped';
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  /**
   * The same by a message, although the window is mapped: how a doorbell wakes a sleeping device.
   *
   * @throws as `write32`
   */
  writeMessage32(offsetBytes: number, value: number): Promise<void>;
  /** A plain load of a flag: a client that spins on its registers can see it. */
  readonly revoked: boolean;
}

/** Registers reached by message alone. */
export interface MessageWindow extends WindowBase {
  readonly kind: 'message';
}

export type LeaseWindow = MappedWindow | MessageWindow;

function checkOffset(place: WindowPlace, offsetBytes: number): void {
  const fits =
    Number.isInteger(offsetBytes) &&
    offsetBytes >= 0 &&
    offsetBytes % 4 === 0 &&
    offsetBytes + 4 <= place.lengthBytes;
  if (!fits) {
    throw new LessorError('INVALID_ARGUMENT', `offset ${offsetBytes} in window ${place.name}`);
  }
}

function checkWritable(place: WindowPlace): void {
  if (place.access === 'read') {
    throw new LessorError('WINDOW_READ_ONLY', `window ${place.name} is read-only`);
  }
}

/** What a lease's end does to messages: its endpoint answers ENODEV, then it is not there. */
const endErrnos: readonly string[] = ['ENODEV', 'EPIPE', 'ECONNRESET'];

async function answered<T>(place: WindowPlace, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isOsError(error) || !endErrnos.includes(error.errno)) throw error;
    throw new LessorError('WINDOW_REVOKED', `window ${place.name}`, { cause: error });
  }
}

async function writeByMessage(
  device: VfioUserClient,
  place: WindowPlace,
  offsetBytes: number,
  value: number,
): Promise<void> {
  checkOffset(place, offsetBytes);
  checkWritable(place);
  await answered(place, device.write32(place.region, place.offsetBytes + offsetBytes, value));
}

function postByMessage(
  device: VfioUserClient,
  place: WindowPlace,
  offsetBytes: number,
  value: number,
): void {
  checkOffset(place, offsetBytes);
  checkWritable(place);
  const bytes = new Uint8Array(Uint32Array.of(value).buffer);
  device.regionWritePosted(place.region, place.offsetBytes + offsetBytes, bytes);
  // Whoever posts may spin from here on until the device has done its work.
  device.flush();
}

export class MappedLeaseWindow implements MappedWindow {
  readonly kind = 'mapped';
  readonly name: string;
  readonly region: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly access: 'read-write' | 'read';
  readonly memory: WindowMemory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  readonly #mapping: Mapping;
  readonly #device: VfioUserClient;
  #ended = false;

  /** Takes ownership of `mapping`, which holds exactly this window. */
  constructor(place: WindowPlace, mapping: Mapping, device: VfioUserClient) {
    this.name = place.name;
    this.region = place.region;
    this.offsetBytes = place.offsetBytes;
    this.lengthBytes = place.lengthBytes;
    this.access = place.access;
    this.memory = place.memory;
    this.#mapping = mapping;
    this.#device = device;
    this.u8 = new Uint8Array(mapping.buffer);
    this.u16 = new Uint16Array(mapping.buffer);
    this.u32 = new Uint32Array(mapping.buffer);
    this.u64 = new BigUint64Array(mapping.buffer);
  }

  get revoked(): boolean {
    return this.#ended || this.#mapping.revoked;
  }

  async read32(offsetBytes: number): Promise<number> {
    checkOffset(this, offsetBytes);
    if (this.revoked) throw new LessorError('WINDOW_REVOKED', `window ${this.name}`);
    return this.u32[offsetBytes / 4] as number;
  }

  async write32(offsetBytes: number, value: number): Promise<void> {
    checkOffset(this, offsetBytes);
    checkWritable(this);
    if (this.revoked) throw new LessorError('WINDOW_REVOKED', `window ${this.name}`);
    this.u32[offsetBytes / 4] = value;
  }

  async writeMessage32(offsetBytes: number, value: number): Promise<void> {
    await writeByMessage(this.#device, this, offsetBytes, value);
  }

  postMessage32(offsetBytes: number, value: number): void {
    postByMessage(this.#device, this, offsetBytes, value);
  }

  /** From now on every load reads all ones. */
  poison(): void {
    if (this.#ended) return;
    this.#ended = true;
    try {
      this.#mapping.poison();
    } catch (error) {
      // No memory map is left for it: the bytes reach nobody all the same, and the flag tells.
      if (!isOsError(error)) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    this.#mapping[Symbol.dispose]();
  }
}

/** Register access by vfio-user messages, for windows that cannot be or are not mapped. */
export class MessageLeaseWindow implements MessageWindow {
  readonly kind = 'message';
  readonly name: string;
  readonly region: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly access: 'read-write' | 'read';
  readonly memory: WindowMemory;
  readonly #device: VfioUserClient;

  constructor(place: WindowPlace, device: VfioUserClient) {
    this.name = place.name;
    this.region = place.region;
    this.offsetBytes = place.offsetBytes;
    this.lengthBytes = place.lengthBytes;
    this.access = place.access;
    this.memory = place.memory;
    this.#device = device;
  }

  async read32(offsetBytes: number): Promise<number> {
    checkOffset(this, offsetBytes);
    return answered(this, this.#device.read32(this.region, this.offsetBytes + offsetBytes));
  }

  async write32(offsetBytes: number, value: number): Promise<void> {
    await writeByMessage(this.#device, this, offsetBytes, value);
  }

  postMessage32(offsetBytes: number, value: number): void {
    postByMessage(this.#device, this, offsetBytes, value);
  }
}
