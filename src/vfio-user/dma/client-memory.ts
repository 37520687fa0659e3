// The server's own requests to its client: DMA_READ and DMA_WRITE, split, limited, cancelled.
import { LessorError, OsError, ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { dmaAccess, VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE } from '../../uapi/vfio-user.js';
import type { ClientMemory, DmaRange } from '../endpoint.js';
import { frame, headerBytes } from '../framing.js';
import type { Link } from '../link.js';
import { addressEnd, overlaps } from './address.js';

const accessBytes = dmaAccess.sizeBytes;
const noBytes = new Uint8Array(0);

class Transfer {
  readonly range: DmaRange;
  readonly lengthBytes: number;
  readonly command: number;
  /** What a read fills or a write sends. */
  bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  sentBytes = 0;
  answeredBytes = 0;
  onTheWireCount = 0;
  isSettled = false;

  constructor(
    iova: bigint,
    command: number,
    bytes: Uint8Array,
    resolve: () => void,
    reject: (error: Error) => void,
  ) {
    this.range = { iova, lengthBytes: BigInt(bytes.length) };
    this.lengthBytes = bytes.length;
    this.command = command;
    this.bytes = bytes;
    this.resolve = resolve;
    this.reject = reject;
  }

  get isRead(): boolean {
    return this.command === VFIO_USER_DMA_READ;
  }

  get onTheWireBytes(): number {
    return this.sentBytes - this.answeredBytes;
  }
}

function cancelled(why: string): OsError {
  return new OsError('ECANCELED', 'vfio-user', why);
}

function askFrame(command: number, address: bigint, count: number, data: Uint8Array): Uint8Array {
  const ask = frame(0, command, 0, accessBytes + data.length);
  dmaAccess.encodeAt({ address, count }, ask, headerBytes);
  ask.set(data, headerBytes + accessBytes);
  return ask;
}

/**
 * A reply repeats address and count, then has the data of a read. A client that answers a
 * DMA_WRITE with a header alone (QEMU 10.2) has read the count as 32 bits and has written other
 * bytes than ours: it is not to be trusted with one more.
 */
function checkEcho(ask: Uint8Array, payload: Uint8Array, dataBytes: number): void {
  if (payload.length !== accessBytes + dataBytes) {
    throw new ProtocolError(dmaAccess.name, 0, `a reply of ${payload.length} bytes`);
  }
  for (let i = 0; i < accessBytes; i++) {
    if (payload[i] === ask[headerBytes + i]) continue;
    throw new ProtocolError(dmaAccess.name, i, 'the reply is about another access');
  }
}

export interface MessageMemoryOptions {
  /** Data bytes that the client takes in one message. */
  readonly dataBytesMax: number;
  readonly deadlineMs: number;
  /** `isBusy` changed. */
  readonly onBusy: () => void;
}

/** @see ClientMemory */
export class MessageMemory implements ClientMemory {
  readonly #link: Link;
  readonly #options: MessageMemoryOptions;
  /** In the order in which they were asked for; settled ones are removed. */
  readonly #transfers = new Set<Transfer>();
  readonly #takenAway = new Set<DmaRange>();
  #bytes = 0;
  #onTheWireCount = 0;
  #onTheWireBytes = 0;
  #isClosed = false;

  constructor(link: Link, options: MessageMemoryOptions) {
    this.#link = link;
    this.#options = options;
  }

  /** A transfer is under way. */
  get isBusy(): boolean {
    return this.#transfers.size > 0;
  }

  async dmaRead(iova: bigint, lengthBytes: number): Promise<Uint8Array> {
    if (lengthBytes === 0) return noBytes;
    this.#check(iova, lengthBytes);
    const into = new Uint8Array(lengthBytes);
    await this.#transfer(iova, VFIO_USER_DMA_READ, into);
    return into;
  }

  async dmaWrite(iova: bigint, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.#check(iova, bytes.length);
    await this.#transfer(iova, VFIO_USER_DMA_WRITE, bytes);
  }

  /**
   * Cancels what is under way there and refuses what is asked for, until the returned function is
   * called.
   */
  takeAway(range: DmaRange | 'all'): () => void {
    // An object of its own: the same range may be taken away twice.
    const entry = range === 'all' ? { iova: 0n, lengthBytes: addressEnd } : { ...range };
    this.#takenAway.add(entry);
    this.#cancel(entry, 'the range is taken away');
    return () => this.#takenAway.delete(entry);
  }

  /** Cancels everything, for good. */
  close(): void {
    this.#isClosed = true;
    this.#cancel('all', 'the client is not served any more');
  }

  #check(iova: bigint, lengthBytes: number): void {
    const isLength = Number.isInteger(lengthBytes) && lengthBytes > 0;
    if (!isLength || iova < 0n || iova + BigInt(lengthBytes) > addressEnd) {
      throw new LessorError('INVALID_ARGUMENT', `${lengthBytes} bytes at ${iova}`);
    }
    if (this.#isClosed) throw cancelled('the client is not served any more');
    const range = { iova, lengthBytes: BigInt(lengthBytes) };
    for (const taken of this.#takenAway) {
      if (overlaps(taken, range)) throw cancelled('the range is taken away');
    }
    if (this.#bytes + lengthBytes > limits.vfioUserDmaBytesMax) {
      throw new LessorError('QUEUE_FULL', `${this.#bytes} bytes of DMA wait already`);
    }
    if (this.#link.pendingCount >= limits.vfioUserDmaUnansweredMax) {
      throw new LessorError('QUEUE_FULL', `${this.#link.pendingCount} messages without answer`);
    }
  }

  #transfer(iova: bigint, command: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const transfer = new Transfer(iova, command, bytes, resolve, reject);
      this.#bytes += transfer.lengthBytes;
      this.#transfers.add(transfer);
      if (this.#transfers.size === 1) this.#options.onBusy();
      this.#pump();
      // What was sent is in its frame; what waits must not change under us.
      const waits = transfer.sentBytes < transfer.lengthBytes;
      if (waits && !transfer.isRead) transfer.bytes = new Uint8Array(bytes);
    });
  }

  /** Sends what fits, in the order in which it was asked for. */
  #pump(): void {
    for (const transfer of this.#transfers) {
      while (!transfer.isSettled && transfer.sentBytes < transfer.lengthBytes) {
        const leftBytes = transfer.lengthBytes - transfer.sentBytes;
        const countBytes = Math.min(this.#options.dataBytesMax, leftBytes);
        if (!this.#hasRoomFor(countBytes)) return;
        this.#send(transfer, countBytes);
      }
    }
  }

  #hasRoomFor(countBytes: number): boolean {
    if (this.#onTheWireCount >= limits.vfioUserDmaMessagesMax) return false;
    return this.#onTheWireBytes + countBytes <= limits.vfioUserDmaWireBytesMax;
  }

  #send(transfer: Transfer, countBytes: number): void {
    const { command, range, isRead, sentBytes: offsetBytes } = transfer;
    const data = isRead ? noBytes : transfer.bytes.subarray(offsetBytes, offsetBytes + countBytes);
    const ask = askFrame(command, range.iova + BigInt(offsetBytes), countBytes, data);
    transfer.sentBytes += countBytes;
    transfer.onTheWireCount++;
    this.#onTheWireCount++;
    this.#onTheWireBytes += countBytes;
    const dataBytes = isRead ? countBytes : 0;
    const expected = {
      payloadBytesMax: accessBytes + dataBytes,
      fdsMax: 0,
      deadlineMs: this.#options.deadlineMs,
    };
    const read = ({ payload }: { readonly payload: Uint8Array }): void => {
      // Cancelled meanwhile: nobody reads what it says.
      if (transfer.isSettled) return;
      checkEcho(ask, payload, dataBytes);
      if (isRead) transfer.bytes.set(payload.subarray(accessBytes), offsetBytes);
    };
    this.#link.request(ask, command, undefined, expected, read).then(
      () => this.#answered(transfer, countBytes),
      (error: Error) => this.#settle(transfer, error),
    );
  }

  #answered(transfer: Transfer, countBytes: number): void {
    if (transfer.isSettled) return;
    transfer.answeredBytes += countBytes;
    transfer.onTheWireCount--;
    this.#onTheWireCount--;
    this.#onTheWireBytes -= countBytes;
    if (transfer.answeredBytes === transfer.lengthBytes) this.#settle(transfer, undefined);
    else this.#pump();
  }

  #settle(transfer: Transfer, error: Error | undefined): void {
    if (transfer.isSettled) return;
    transfer.isSettled = true;
    this.#onTheWireCount -= transfer.onTheWireCount;
    this.#onTheWireBytes -= transfer.onTheWireBytes;
    this.#bytes -= transfer.lengthBytes;
    this.#transfers.delete(transfer);
    if (error === undefined) transfer.resolve();
    else transfer.reject(error);
    if (this.#transfers.size === 0) this.#options.onBusy();
    else this.#pump();
  }

  #cancel(range: DmaRange | 'all', why: string): void {
    const met = [...this.#transfers].filter((transfer) => overlaps(range, transfer.range));
    // First all out, so that the end of one does not send another.
    for (const transfer of met) this.#transfers.delete(transfer);
    for (const transfer of met) this.#settle(transfer, cancelled(why));
  }
}
