// Memory of a client that has no descriptor: buffers by I/O virtual address, served by message.
import { LessorError, OsError } from '../../base/errors.js';
import type { VfioUserClient } from '../client.js';
import type { DmaRange } from '../endpoint.js';
import { addressEnd, overlaps } from './address.js';
import type { DmaHandler } from './handler.js';

export interface DmaBuffer {
  readonly iova: bigint;
  /** Shared with the device: it reads and writes this very memory. */
  readonly bytes: Uint8Array;
  /** By the device. Default true. */
  readonly readable?: boolean;
  /** By the device. Default true. */
  readonly writable?: boolean;
}

interface Entry extends DmaRange {
  readonly bytes: Uint8Array;
  readonly readable: boolean;
  readonly writable: boolean;
}

/**
 * A handler for `connectVfioUser` that serves a table of buffers. A message may reach over several
 * that touch. Out of all buffers it is answered EFAULT, without the right it needs EPERM; then no
 * byte has moved.
 */
export class DmaTable implements DmaHandler {
  readonly #entries: Entry[] = [];

  /**
   * Serves a buffer from now on. The server is not told: see `map`.
   *
   * @throws LessorError `INVALID_ARGUMENT` for an empty buffer or one past 2^64,
   *   `IOVA_OVERLAP`.
   */
  add(buffer: DmaBuffer): void {
    const { iova, bytes, readable = true, writable = true } = buffer;
    const lengthBytes = BigInt(bytes.length);
    if (lengthBytes === 0n || iova < 0n || iova + lengthBytes > addressEnd) {
      throw new LessorError('INVALID_ARGUMENT', `${lengthBytes} bytes at ${iova}`);
    }
    const entry = { iova, lengthBytes, bytes, readable, writable };
    if (this.#entries.some((other) => overlaps(entry, other))) {
      throw new LessorError('IOVA_OVERLAP', `${lengthBytes} bytes at ${iova}`);
    }
    this.#entries.push(entry);
    this.#entries.sort((one, other) => (one.iova < other.iova ? -1 : 1));
  }

  /**
   * Serves the buffer at `iova` no more.
   *
   * @throws LessorError `IOVA_NOT_MAPPED`
   */
  remove(iova: bigint): void {
    const index = this.#entries.findIndex((entry) => entry.iova === iova);
    if (index < 0) throw new LessorError('IOVA_NOT_MAPPED', `no buffer at ${iova}`);
    this.#entries.splice(index, 1);
  }

  /** Serves a buffer and tells the server of it. @throws as `add` and `VfioUserClient.dmaMap`. */
  async map(client: VfioUserClient, buffer: DmaBuffer): Promise<void> {
    this.add(buffer);
    const { iova, bytes, readable = true, writable = true } = buffer;
    const lengthBytes = BigInt(bytes.length);
    try {
      await client.dmaMap({ iova, lengthBytes, offsetBytes: 0n, readable, writable });
    } catch (error) {
      this.remove(iova);
      throw error;
    }
  }

  /**
   * Takes the buffer at `iova` from the server; served until the server has let go.
   *
   * @throws LessorError `IOVA_NOT_MAPPED`; as `VfioUserClient.dmaUnmap`, and is served on then.
   */
  async unmap(client: VfioUserClient, iova: bigint): Promise<void> {
    const entry = this.#entries.find((one) => one.iova === iova);
    if (entry === undefined) throw new LessorError('IOVA_NOT_MAPPED', `no buffer at ${iova}`);
    await client.dmaUnmap({ iova, lengthBytes: entry.lengthBytes });
    this.remove(iova);
  }

  read(iova: bigint, lengthBytes: number): Uint8Array {
    const into = new Uint8Array(lengthBytes);
    for (const { part, at } of this.#parts(iova, lengthBytes, 'readable')) into.set(part, at);
    return into;
  }

  write(iova: bigint, bytes: Uint8Array): void {
    for (const { part, at } of this.#parts(iova, bytes.length, 'writable')) {
      part.set(bytes.subarray(at, at + part.length));
    }
  }

  /** The memory of a range, part by part, all of it checked before any is given. */
  #parts(iova: bigint, lengthBytes: number, right: 'readable' | 'writable') {
    const parts: { readonly part: Uint8Array; readonly at: number }[] = [];
    let at = 0;
    for (const entry of this.#entries) {
      const from = iova + BigInt(at);
      if (from < entry.iova || from >= entry.iova + entry.lengthBytes) continue;
      if (!entry[right]) throw new OsError('EPERM', 'vfio-user', `${from} is not ${right}`);
      const start = Number(from - entry.iova);
      const part = entry.bytes.subarray(start, start + lengthBytes - at);
      parts.push({ part, at });
      at += part.length;
      if (at === lengthBytes) return parts;
    }
    throw new OsError('EFAULT', 'vfio-user', `${lengthBytes} bytes at ${iova} are not mapped`);
  }
}
