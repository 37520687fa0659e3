// Operations on foreign descriptors that can block for ever. They run in small helper processes
// that hold nothing else; one that does not answer in time is left behind and replaced.
import type { Fd } from './fd.js';
import type { StreamSocket } from './socket-types.js';

export interface HelperTerms {
  /** Whose limit the operation counts against (`helperOperationsPerUidMax`). */
  readonly uid: number;
  readonly deadlineMs: number;
}

export interface SealState {
  readonly seals: number;
  readonly lengthBytes: number;
}

export interface Received {
  /** Empty at end-of-file. */
  readonly bytes: Uint8Array;
  readonly fds: Fd[];
  readonly refusedCount: number;
}

/**
 * None takes ownership of a descriptor. All reject with LessorError `DEADLINE_EXCEEDED` when the
 * deadline passes, `QUOTA_EXCEEDED` over the uid's limit, OsError with the errno of the call.
 */
export interface HelperPool extends AsyncDisposable {
  truncate(fd: Fd, lengthBytes: number, terms: HelperTerms): Promise<void>;
  /** Adds seals, ignoring the result, and reports what is there then. */
  seal(fd: Fd, seals: number, terms: HelperTerms): Promise<SealState>;
  /** accept4 on a client's listening socket. */
  accept(listener: Fd, terms: HelperTerms): Promise<StreamSocket>;
  /**
   * recvmsg of at most `bytesMax` bytes with their descriptors, keeping only shmem, hugetlb and
   * eventfds (and listening AF_UNIX sockets, for `listen`); the rest is closed in the helper.
   */
  receive(socket: Fd, bytesMax: number, fdsMax: number, terms: HelperTerms): Promise<Received>;
  /** Pids of the helper processes that run, stuck ones included. */
  readonly pids: readonly number[];
  /** How many helpers are stuck, waiting for a client that blocks them. */
  readonly stuckCount: number;
}
