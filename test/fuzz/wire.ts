// Sends a shape: whole, in pieces, or together with the one before.
import type { Fd } from '../../src/os/fd.js';
import type { StreamSocket } from '../../src/os/socket-types.js';
import { rawFrame } from '../../src/vfio-user/testing/raw-peer.js';
import type { FuzzWorld } from './fuzz-world.js';
import type { Shape } from './mutate.js';
import type { Random } from './random.js';

export function bytesOf(shape: Shape): Uint8Array {
  const { command, payload, messageId, flags, errno, sizeError } = shape;
  const messageSize = Math.max(0, 16 + payload.length + sizeError) >>> 0;
  return rawFrame(command, payload, { messageId, flags, errno, messageSize });
}

/** Bytes without descriptors may wait here to go out with what follows. */
export class Wire {
  readonly #socket: StreamSocket;
  readonly #world: FuzzWorld;
  readonly #random: Random;
  #held = new Uint8Array(0);

  constructor(socket: StreamSocket, world: FuzzWorld, random: Random) {
    this.#socket = socket;
    this.#world = world;
    this.#random = random;
  }

  send(shape: Shape, given?: readonly Fd[]): void {
    const random = this.#random;
    const bytes = bytesOf(shape);
    const fds = given ?? Array.from({ length: shape.fdCount }, () => this.#world.any(random));
    if (fds.length > 0) {
      this.flush();
      this.#pieces(bytes, fds);
      return;
    }
    this.#held = new Uint8Array(Buffer.concat([this.#held, bytes]));
    if (this.#held.length > 65_536 || random.percent(60)) this.flush();
  }

  flush(): void {
    const held = this.#held;
    this.#held = new Uint8Array(0);
    if (held.length > 0) this.#pieces(held, []);
  }

  /** Descriptors go with the first piece; seldom with the second, which is wrong. */
  #pieces(bytes: Uint8Array, fds: readonly Fd[]): void {
    const random = this.#random;
    const isCut = random.percent(20) && bytes.length > 1;
    const at = isCut ? random.between(1, Math.min(bytes.length - 1, 40)) : bytes.length;
    const isLate = isCut && random.percent(3);
    this.#socket.send(bytes.subarray(0, at), isLate ? [] : fds);
    if (isCut) this.#socket.send(bytes.subarray(at), isLate ? fds : []);
  }
}
