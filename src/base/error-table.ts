// Every expected error: its errno on the wire, whether a retry may help, its CLI exit code, and
// what to do. `docs/reference/errors.md` is generated from this table.
import type { Errno } from './errno.js';

export interface ErrorRow {
  readonly errno: Errno;
  /** The same request may succeed later. */
  readonly retry: boolean;
  /** Exit status of the CLI: 1 failure, 2 usage, 3 not ready, 4 denied, 5 busy, 6 revoked. */
  readonly exit: 1 | 2 | 3 | 4 | 5 | 6;
  readonly hint: string;
}

function row(errno: Errno, exit: ErrorRow['exit'], retry: boolean, hint: string): ErrorRow {
  return { errno, retry, exit, hint };
}

export const errorTable = {
  // Requests.
  INVALID_ARGUMENT: row('EINVAL', 2, false, 'correct the named argument'),
  UNSUPPORTED: row('EOPNOTSUPP', 1, false, 'this function or build cannot do it'),
  UNKNOWN_KIND: row('ENOENT', 2, false, '"lessor functions" lists the kinds on offer'),
  UNKNOWN_SLICE: row('ENOENT', 2, false, '"lessor functions" lists the slices'),
  NO_FREE_SLICE: row('EBUSY', 5, true, 'wait with waitMs, or end one of the named leases'),
  DENIED: row('EACCES', 4, false, 'the policy admits the uid of the broker and root'),
  ISOLATION_UNAVAILABLE: row('EOPNOTSUPP', 4, false, 'ask for a weaker isolation or exclusive'),
  REVOCATION_UNAVAILABLE: row('EOPNOTSUPP', 4, false, 'ask for a weaker revocation'),
  QUOTA_EXCEEDED: row('ENOSPC', 5, true, 'release a lease or unmap memory first'),
  DEADLINE_EXCEEDED: row('ETIMEDOUT', 1, true, 'the peer or device did not answer in time'),
  SYSTEM_FAILED: row('EIO', 1, false, 'the system refused; see errno and the log of the broker'),
  // Leases.
  LEASE_NOT_FOUND: row('ENOENT', 2, false, '"lessor leases" lists the live ones'),
  LEASE_STALE: row('ESTALE', 6, false, 'the function was reset since; request a new lease'),
  LEASE_REVOKED: row('ENODEV', 6, false, 'request a new lease'),
  LEASE_ENDED: row('ENODEV', 6, false, 'request a new lease'),
  LEASE_REVOKING: row('ENODEV', 6, false, 'wind down: the lease is being taken back'),
  LEASE_NOT_ENABLED: row('EAGAIN', 1, true, 'set Memory Space Enable in COMMAND first'),
  NOT_QUARANTINED: row('EINVAL', 2, false, '"lessor status" shows what is in quarantine'),
  // Memory.
  MEMORY_NOT_SHMEM: row('EINVAL', 1, false, 'pass a memfd'),
  MEMORY_UNSEALED: row(
    'EPERM',
    1,
    false,
    'seal the memfd with F_SEAL_SHRINK, or serve with --allow-unsealed-memory',
  ),
  MEMORY_WRITE_SEALED: row('EPERM', 1, false, 'map it read-only for the device'),
  MEMORY_READ_ONLY: row('EACCES', 1, false, 'pass a descriptor opened for reading and writing'),
  MEMORY_TOO_SMALL: row('EINVAL', 1, false, 'grow the memfd or map less of it'),
  IOVA_OUTSIDE_WINDOW: row('ERANGE', 1, false, 'map inside the IOVA window of the lease'),
  IOVA_UNALIGNED: row('EINVAL', 1, false, 'align IOVA, offset and length to the page size'),
  IOVA_OVERLAP: row('EEXIST', 1, false, 'unmap what is there first'),
  IOVA_NOT_MAPPED: row('ENOENT', 1, false, 'unmap exactly what was mapped'),
  ARENA_FULL: row('ENOSPC', 5, true, 'unmap memory, or try again when other leases have'),
  // Windows.
  WINDOW_READ_ONLY: row('EPERM', 1, false, 'write to a writable window'),
  WINDOW_REVOKED: row('ENODEV', 6, false, 'request a new lease'),
  WINDOW_SEALS: row('EPERM', 6, false, 'do not seal or resize the memory of a window'),
  WINDOW_MESSAGE_ONLY: row('EOPNOTSUPP', 1, false, 'use read32 and write32'),
  // Descriptors and wire formats.
  FD_REFUSED: row('EBADF', 1, false, 'pass a descriptor of the documented type'),
  FD_UNEXPECTED: row('EPROTO', 1, false, 'pass descriptors only where the protocol takes them'),
  FRAME_MALFORMED: row('EPROTO', 1, false, 'the peer does not speak this protocol'),
  FRAME_TOO_LARGE: row('EMSGSIZE', 1, false, 'send smaller messages'),
  // Device.
  DEVICE_FAULT: row('EIO', 1, false, 'read the fault record; reset the queue'),
  QUEUE_FULL: row('EAGAIN', 1, true, 'wait for completions'),
  FUNCTION_GONE: row('ENODEV', 3, false, 'the function must be present; restart the broker'),
  FUNCTION_UNBOUND: row('ENODEV', 3, false, '"lessor bind" gives it to vfio-pci'),
  FUNCTION_BUSY: row('EBUSY', 5, true, 'end the process that has it'),
  GROUP_NOT_VIABLE: row('EBUSY', 3, false, 'give the named functions to vfio-pci, or to no driver'),
  SERVER_GONE: row('ENOTCONN', 3, true, 'wait until the server is back; what it did is not known'),
  DEVICE_CHANGED: row(
    'ENODEV',
    3,
    false,
    'serve the same device again, or start over with this one',
  ),
  // Served devices.
  ADDRESS_IN_USE: row('EADDRINUSE', 3, false, 'end who listens there, or choose another path'),
  // This installation.
  NATIVE_MISSING: row('ENOENT', 3, false, 'run "npm run setup" in the clone'),
  // Drivers and brokers.
  DRIVER_NOT_FOUND: row('ENOENT', 2, false, 'name a built-in driver, a package or a path'),
  DRIVER_UNTRUSTED: row('EPERM', 4, false, 'make the file owned and writable by you or root alone'),
  DRIVER_INVALID: row('EINVAL', 2, false, 'see docs/guides/write-a-driver.md'),
  DRIVER_FAILED: row('EIO', 3, false, 'see the log of the broker'),
  BROKER_NOT_FOUND: row('ENOENT', 3, true, 'start one with "lessor serve", or pass --socket'),
  BROKER_AMBIGUOUS: row('EINVAL', 2, false, 'pass --socket or set LESSOR_SOCKET'),
  BROKER_RUNNING: row('EADDRINUSE', 3, false, 'stop the other broker or pass --socket'),
  BROKER_GONE: row('EPIPE', 3, true, 'the broker died; every lease ended with it'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

/** Exit status of the CLI for an error code. */
export function exitStatusOf(code: ErrorCode): ErrorRow['exit'] {
  return errorTable[code].exit;
}
