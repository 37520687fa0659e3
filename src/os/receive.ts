// Reads of a stream, one system call each, into a buffer that the thread's streams share: reads do
// not nest, and what arrived is copied out or used up before the next one.
//
// The kernel lets a read run from plain bytes into bytes that carry descriptors and ends it behind
// those, so a read tells which descriptors came but not with which of its bytes. Looking first
// tells whether any came: without control space a peek gives MSG_CTRUNC and touches none of them.
// It looks through all that is queued, past the bytes that it takes, and so says it early.
import { Fd, type FdCalls } from './fd.js';
import { receiveReport, type SocketCalls } from './native-sockets.js';
import { EINTR, MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK } from './socket-constants.js';

/** What arrived last. */
export const received = new Uint8Array(65_536);
/** Bytes of one read that goes past the message at hand: some hundred small messages. */
export const aheadBytesMax = 8192;
const report = new Int32Array(receiveReport.length);

/** One recvmsg. @returns Bytes, 0 at the end, or a negative errno. */
export function receive(
  calls: SocketCalls,
  fd: number,
  lengthBytes: number,
  flags: number,
  withControl: boolean,
): number {
  const all = flags | MSG_DONTWAIT;
  for (;;) {
    const got = calls.receiveMessage(fd, received, lengthBytes, report, all, withControl);
    if (got !== -EINTR) return got;
  }
}

/** Whether descriptors that came with the last read, or peek, did not fit its control space. */
export function wasTruncated(): boolean {
  return ((report[receiveReport.flags] ?? 0) & MSG_CTRUNC) !== 0;
}

/** The descriptors of the last read; the caller owns them. */
export function receivedFds(calls: FdCalls): Fd[] {
  const fds: Fd[] = [];
  for (let index = 0; index < (report[receiveReport.count] ?? 0); index++) {
    fds.push(new Fd(calls, report[receiveReport.fds + index] ?? -1));
  }
  return fds;
}

/**
 * Reads at most `aheadBytesMax` bytes, none of which carries a descriptor.
 *
 * @returns As `receive`, or undefined: descriptors are queued, perhaps further on.
 */
export function receivePlain(calls: SocketCalls, fd: number): number | undefined {
  const peeked = receive(calls, fd, aheadBytesMax, MSG_PEEK, false);
  if (peeked <= 0) return peeked;
  return wasTruncated() ? undefined : receive(calls, fd, peeked, 0, false);
}
