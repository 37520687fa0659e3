// A client's side of DMA_READ and DMA_WRITE: judges the message, asks the handler, answers.
import type { Errno } from '../../base/errno.js';
import { assert, errnoOf, OsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { closeAll } from '../../os/fd.js';
import {
  dmaAccess,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_F_NO_REPLY,
} from '../../uapi/vfio-user.js';
import { refuse } from '../checks.js';
import { errorFrame, type Header, type Message } from '../framing.js';
import { type Reply, replyFrame } from '../reply.js';
import { addressEnd } from './address.js';
import type { DmaHandler } from './handler.js';

const { name, sizeBytes } = dmaAccess;

export interface DmaServiceOptions {
  /** Absent: the server hears that there are no such commands. */
  readonly handler: DmaHandler | undefined;
  /** What we said that we take in one message. */
  readonly dataBytesMax: number;
  /** The connection is not to be used any more: the handler has a bug. */
  readonly onBug: (error: Error) => void;
}

/** Where replies go. */
export interface ReplySink {
  readonly isOpen: boolean;
  send(bytes: Uint8Array): void;
}

function checkAccess(message: Message, dataBytesMax: number): { address: bigint; count: number } {
  const { header, payload, fds, refusedCount } = message;
  if ((header.flags & ~VFIO_USER_F_NO_REPLY) !== 0) {
    refuse('vfio_user_header.flags', 8, `${header.flags}`);
  }
  if (header.errno !== 0) refuse('vfio_user_header.errno', 12, 'is set in a command');
  if (fds.length + refusedCount > 0) refuse(name, 0, 'descriptors with a DMA message');
  const { address, count } = dmaAccess.decodeAt(payload, 0);
  const isWrite = header.command === VFIO_USER_DMA_WRITE;
  if (count > dataBytesMax) throw new OsError('E2BIG', 'vfio-user', `${count} bytes of DMA`);
  if (count === 0) refuse(`${name}.count`, 8, 'is 0');
  if (payload.length !== sizeBytes + (isWrite ? count : 0)) {
    refuse(`${name}.count`, 8, `${payload.length} bytes, count ${count}`);
  }
  if (address + BigInt(count) > addressEnd) refuse(`${name}.address`, 0, 'wraps with its count');
  return { address, count };
}

/** Serves one connection. */
export class DmaService {
  readonly #options: DmaServiceOptions;
  /** Passed over when the connection has ended by their turn. */
  readonly #waiting: { readonly message: Message; readonly to: ReplySink }[] = [];
  #waitingBytes = 0;
  #isRunning = false;

  constructor(options: DmaServiceOptions) {
    this.#options = options;
  }

  /** Takes one command of the server, its descriptors included, and answers it some time. */
  command(message: Message, to: ReplySink): void {
    closeAll(message.fds);
    const isFull =
      this.#waiting.length >= limits.vfioUserDmaServedMax ||
      this.#waitingBytes >= limits.vfioUserDmaServedBytesMax;
    if (isFull) {
      this.#answerError(message.header, 'EAGAIN', to);
      return;
    }
    if (this.#isRunning) {
      this.#waiting.push({ message, to });
      this.#waitingBytes += message.payload.length;
    } else {
      this.#run(message, to);
    }
  }

  #run(message: Message, to: ReplySink): void {
    let result: Reply | Promise<Reply>;
    try {
      result = this.#execute(message);
    } catch (error) {
      this.#failed(message.header, error, to);
      return;
    }
    if (!(result instanceof Promise)) {
      this.#answer(message.header, result, to);
      return;
    }
    this.#isRunning = true;
    void result
      .then(
        (reply) => this.#answer(message.header, reply, to),
        (error) => this.#failed(message.header, error, to),
      )
      .finally(() => this.#runWaiting());
  }

  #runWaiting(): void {
    this.#isRunning = false;
    while (!this.#isRunning && this.#waiting.length > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#waitingBytes -= next.message.payload.length;
      if (next.to.isOpen) this.#run(next.message, next.to);
    }
  }

  #execute(message: Message): Reply | Promise<Reply> {
    const { handler, dataBytesMax } = this.#options;
    const { command } = message.header;
    const isKnown = command === VFIO_USER_DMA_READ || command === VFIO_USER_DMA_WRITE;
    if (handler === undefined || !isKnown) {
      throw new OsError('ENOSYS', 'vfio-user', `command ${command}`);
    }
    const { address, count } = checkAccess(message, dataBytesMax);
    const head = message.payload.subarray(0, sizeBytes);
    if (command === VFIO_USER_DMA_WRITE) {
      const done = handler.write(address, message.payload.subarray(sizeBytes));
      return done instanceof Promise ? done.then(() => ({ head })) : { head };
    }
    const reply = (tail: Uint8Array): Reply => {
      assert(tail.length === count, `${tail.length} bytes were read instead of ${count}`);
      return { head, tail };
    };
    const data = handler.read(address, count);
    return data instanceof Promise ? data.then(reply) : reply(data);
  }

  #answer(header: Header, reply: Reply, to: ReplySink): void {
    if ((header.flags & VFIO_USER_F_NO_REPLY) === 0) to.send(replyFrame(header, reply));
  }

  #answerError(header: Header, errno: Errno, to: ReplySink): void {
    if ((header.flags & VFIO_USER_F_NO_REPLY) === 0) to.send(errorFrame(header, errno));
  }

  #failed(header: Header, error: unknown, to: ReplySink): void {
    const errno = errnoOf(error);
    if (errno !== undefined) {
      this.#answerError(header, errno, to);
      return;
    }
    const known = error instanceof Error ? error : new OsError('EIO', 'vfio-user', String(error));
    this.#options.onBug(known);
    throw error;
  }
}
