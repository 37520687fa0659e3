// Messages between the pool and a helper process, in host byte order; see native/helper/main.c.

export const helperOperations = { truncate: 1, seal: 2, accept: 3, receive: 4 } as const;
export type HelperOperation = keyof typeof helperOperations;

/** The most bytes one `receive` returns. */
export const receiveBytesMax = 65_536;
export const replyHeaderBytes = 40;

const kindReady = 2;

export interface HelperRequest {
  readonly operation: HelperOperation;
  /** Seals to add; the most descriptors to pass on. */
  readonly number: number;
  /** A length; the most bytes to receive. */
  readonly value: number;
}

export interface ReplyHeader {
  /** The helper closed everything foreign and waits for the next request. */
  readonly isReady: boolean;
  /** Positive errno, or 0. */
  readonly errno: number;
  readonly value: number;
  readonly seals: number;
  /** Bytes that follow the header. */
  readonly byteCount: number;
  /** Descriptors that arrived: those that came along and those refused. */
  readonly fdCount: number;
  readonly refusedCount: number;
  readonly messageFlags: number;
}

export function encodeRequest(request: HelperRequest): Uint8Array {
  const bytes = new Uint8Array(16);
  const words = new Uint32Array(bytes.buffer);
  words[0] = helperOperations[request.operation];
  words[1] = request.number;
  new BigUint64Array(bytes.buffer)[1] = BigInt(request.value);
  return bytes;
}

export function decodeReplyHeader(bytes: Uint8Array): ReplyHeader {
  // A copy, so that the words are aligned.
  const { buffer } = bytes.slice(0, replyHeaderBytes);
  const words = new Uint32Array(buffer);
  return {
    isReady: words[0] === kindReady,
    errno: words[1] ?? 0,
    value: Number(new BigUint64Array(buffer)[1]),
    seals: words[4] ?? 0,
    byteCount: words[5] ?? 0,
    fdCount: words[6] ?? 0,
    refusedCount: words[7] ?? 0,
    messageFlags: words[8] ?? 0,
  };
}
