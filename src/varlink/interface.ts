// The published description of the control and admin services, and its types. The service
// validates every request against the description; the types below say the same to TypeScript,
// and a test holds the two together.
import { type ErrorCode, errorTable } from '../base/errors.js';

/** One declaration for each of our errors: any method may answer with any of them. */
function errorDeclarations(): string {
  const names = (Object.keys(errorTable) as ErrorCode[]).map(errorNameOf);
  const declarations = names.map(
    (name) => `error ${name} (code: string, errno: string, hint: string, detail: string)`,
  );
  return declarations.join('\n');
}

/** Varlink names are PascalCase. */
function errorNameOf(code: ErrorCode): string {
  const words = code.toLowerCase().split('_');
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

export const controlName = 'io.lessor.Control';
export const adminName = 'io.lessor.Admin';

export const controlDescription = `# Leases of slices of one PCI function.
interface io.lessor.Control

# A part of a BAR that a lease reaches. access: "read-write" or "read".
type Window (name: string, region: int, offset: int, length: int, access: string)

type Slice (name: string, kind: string, state: string, lease: ?string, windows: []Window, vectors: int)

type Function (
  name: string,
  underside: string,
  vendor: int,
  device: int,
  class: int,
  pasidBits: int,
  epoch: int,
  driver: string,
  isolation: string
)

# Times in milliseconds since 1970; memory in bytes. iovaBase and iovaBytes are the IOVA window.
type Lease (
  id: string,
  slice: string,
  kind: string,
  state: string,
  isolation: string,
  revocation: string,
  holder: string,
  uid: int,
  pid: ?int,
  epoch: int,
  pasid: ?int,
  iovaBase: int,
  iovaBytes: int,
  mappedBytes: int,
  vectors: int,
  exclusive: bool,
  createdMs: int,
  expiresMs: ?int,
  reason: ?string
)

type Fault (iova: int, access: string, reason: string)

# phase and micros: one step of a reclaim.
type Event (
  atMs: int,
  type: string,
  lease: ?string,
  slice: ?string,
  uid: ?int,
  pid: ?int,
  state: ?string,
  reason: ?string,
  graceMs: ?int,
  fault: ?Fault,
  phase: ?string,
  micros: ?int,
  outcome: ?string
)

method GetInfo() -> (version: string, pid: int, uid: int, function: Function, slices: []Slice, quarantined: []string)

# With "more": the first reply carries the lease, and in fd the index of its descriptor; later
# replies are events of this lease, the last one of type "ended". With listen, the index of a
# listening socket, there is no fd: the lease is the first connection to that socket. With
# "upgrade" there is no fd either: after the reply this very connection is the lease.
method Acquire(
  kind: ?string,
  slice: ?string,
  memoryBytes: int,
  vectors: ?int,
  isolation: ?string,
  revocation: ?string,
  exclusive: ?bool,
  mapped: ?bool,
  ttlMs: ?int,
  holder: ?string,
  waitMs: ?int,
  priority: ?int,
  listen: ?int
) -> (lease: ?Lease, fd: ?int, event: ?Event)

method Renew(id: string, ttlMs: int) -> (expiresMs: int)

method Release(id: string) -> ()

method List() -> (leases: []Lease)

# With "more": every event from now on; the last reply has none.
method Monitor() -> (event: ?Event)

# Every error carries the same four: code, the errno for a system call that wants one, what to do,
# and what happened here.
${errorDeclarations()}
`;

export const adminDescription = `# For the operator of a broker.
interface io.lessor.Admin

method Revoke(id: string, reason: ?string, graceMs: ?int) -> ()

# Ends a lease in its holder's place, as if it had released it.
method Release(id: string) -> ()

# Frees a slice that could not be proved idle, on the operator's word.
method ReleaseQuarantine(slice: string) -> ()

# Resets the function; every lease is reclaimed.
method Reset(reason: ?string) -> (epoch: int)

# No new lease; resolves when none is left.
method Drain(deadlineMs: ?int) -> ()

# Ends the broker: every lease is reclaimed first.
method Shutdown() -> ()

# Descriptors of the broker's own /proc/self/fd directory and /proc/self/maps, for a leak count.
method Inspect() -> (
  fdDirectory: int,
  maps: int,
  iovaBytes: int,
  pasids: int,
  processes: []int,
  leases: int
)

# Makes a slice misbehave. Only with --fault-injection.
method Inject(slice: string, fault: string, value: int) -> ()

${errorDeclarations()}
`;

/** Varlink names of our errors: PascalCase of the code, in the interface's namespace. */
export function varlinkErrorName(interfaceName: string, code: ErrorCode): string {
  return `${interfaceName}.${errorNameOf(code)}`;
}

export interface WindowRecord {
  readonly name: string;
  readonly region: number;
  readonly offset: number;
  readonly length: number;
  readonly access: string;
}

export interface SliceRecord {
  readonly name: string;
  readonly kind: string;
  /** `free`, `leased`, `quarantined`. */
  readonly state: string;
  readonly lease?: string;
  readonly windows: readonly WindowRecord[];
  readonly vectors: number;
}

export interface FunctionRecord {
  readonly name: string;
  readonly underside: string;
  readonly vendor: number;
  readonly device: number;
  readonly class: number;
  readonly pasidBits: number;
  readonly epoch: number;
  readonly driver: string;
  readonly isolation: string;
}

export interface LeaseRecord {
  readonly id: string;
  readonly slice: string;
  readonly kind: string;
  readonly state: string;
  readonly isolation: string;
  readonly revocation: string;
  readonly holder: string;
  readonly uid: number;
  readonly pid?: number;
  readonly epoch: number;
  readonly pasid?: number;
  readonly iovaBase: number;
  readonly iovaBytes: number;
  readonly mappedBytes: number;
  readonly vectors: number;
  readonly exclusive: boolean;
  readonly createdMs: number;
  readonly expiresMs?: number;
  readonly reason?: string;
}

export interface FaultRecord {
  readonly iova: number;
  readonly access: string;
  readonly reason: string;
}

export interface EventRecord {
  readonly atMs: number;
  /** `granted`, `connected`, `enabled`, `refused`, `revoking`, `fault`, `phase`, `ended`, ... */
  readonly type: string;
  readonly lease?: string;
  readonly slice?: string;
  readonly uid?: number;
  /** Of the process that connected to a listening lease. */
  readonly pid?: number;
  readonly state?: string;
  readonly reason?: string;
  readonly graceMs?: number;
  readonly fault?: FaultRecord;
  readonly phase?: string;
  readonly micros?: number;
  readonly outcome?: string;
}

export interface InfoReply {
  readonly version: string;
  readonly pid: number;
  readonly uid: number;
  readonly function: FunctionRecord;
  readonly slices: readonly SliceRecord[];
  readonly quarantined: readonly string[];
}

export interface AcquireParameters {
  readonly kind?: string;
  readonly slice?: string;
  readonly memoryBytes: number;
  readonly vectors?: number;
  readonly isolation?: string;
  readonly revocation?: string;
  readonly exclusive?: boolean;
  readonly mapped?: boolean;
  readonly ttlMs?: number;
  readonly holder?: 'acquirer' | 'fd';
  readonly waitMs?: number;
  readonly priority?: number;
  readonly listen?: number;
}

export interface AcquireReply {
  readonly lease?: LeaseRecord;
  readonly fd?: number;
  readonly event?: EventRecord;
}

export interface InspectReply {
  readonly fdDirectory: number;
  readonly maps: number;
  readonly iovaBytes: number;
  readonly pasids: number;
  readonly processes: readonly number[];
  readonly leases: number;
}
