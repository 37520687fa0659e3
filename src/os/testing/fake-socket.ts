// One end of a stream socket in memory.
import { FakeFile } from './fake-files.js';

/** As much as an unread AF_UNIX stream takes by default. */
export const socketCapacityBytes = 212_992;

/** Who made a socket: what the other end sees of it. */
export interface FakeIdentity {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

interface Chunk {
  readonly bytes: Uint8Array;
  readonly files: FakeFile[];
}

export interface FakeRead {
  readonly bytes: Uint8Array;
  readonly files: readonly FakeFile[];
}

export class FakeSocket extends FakeFile {
  readonly owner: FakeIdentity;
  readonly #onChange: () => void;
  peer: FakeSocket | undefined;
  /** Shut down or closed by the other end. */
  isAtEnd = false;
  isClosed = false;
  /** The other end closed with bytes of ours unread. */
  wasReset = false;
  acceptsFds = true;
  path: string | undefined;
  /** Connections that wait to be accepted; undefined unless listening. */
  waiting: FakeSocket[] | undefined;
  #queue: Chunk[] = [];
  #queuedBytes = 0;

  constructor(owner: FakeIdentity, onChange: () => void) {
    super('socket', 0);
    this.owner = owner;
    this.#onChange = onChange;
  }

  get freeBytes(): number {
    return socketCapacityBytes - this.#queuedBytes;
  }

  get hasBytes(): boolean {
    return this.#queue.length > 0;
  }

  static connect(one: FakeSocket, other: FakeSocket): void {
    one.peer = other;
    other.peer = one;
  }

  /** Takes a message that fits, with references to its files. */
  push(bytes: Uint8Array, files: FakeFile[]): void {
    for (const file of files) file.referenceCount++;
    this.#queue.push({ bytes, files });
    this.#queuedBytes += bytes.length;
    this.#onChange();
  }

  /**
   * Reads across messages, but not past one with files. The files' references pass to the caller
   * unless this only peeks.
   */
  read(bytesMax: number, peek: boolean): FakeRead {
    const parts: Uint8Array[] = [];
    const files: FakeFile[] = [];
    let left = bytesMax;
    let index = 0;
    while (left > 0 && files.length === 0) {
      const chunk = this.#queue[index];
      if (chunk === undefined) break;
      const part = chunk.bytes.subarray(0, left);
      parts.push(part);
      left -= part.length;
      files.push(...chunk.files);
      if (peek) {
        index++;
      } else if (part.length < chunk.bytes.length) {
        this.#queue[0] = { bytes: chunk.bytes.subarray(part.length), files: [] };
      } else {
        this.#queue.shift();
      }
    }
    // A peek looks past the bytes it takes, as the kernel's does.
    if (peek && files.length === 0) {
      files.push(
        ...(this.#queue.slice(index).find((chunk) => chunk.files.length > 0)?.files ?? []),
      );
    }
    const bytes = new Uint8Array(Buffer.concat(parts));
    if (!peek) {
      this.#queuedBytes -= bytes.length;
      this.#onChange();
    }
    return { bytes, files };
  }

  override onReleased(): void {
    this.isClosed = true;
    if (this.peer) {
      this.peer.isAtEnd = true;
      this.peer.wasReset = this.#queue.length > 0;
    }
    const files = this.#queue.flatMap((chunk) => chunk.files);
    this.#queue = [];
    for (const file of files) {
      file.referenceCount--;
      if (file.referenceCount === 0) file.onReleased();
    }
    for (const socket of this.waiting ?? []) socket.onReleased();
    this.#onChange();
  }
}
