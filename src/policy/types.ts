// What policy is asked, what it is told, and what it answers. Copies of facts, nothing live.
import type { ErrorCode } from '../base/errors.js';
import type { Isolation, Revocation } from '../base/labels.js';
import type { WindowTraits } from '../function/types.js';

/** A checked request for a lease. */
export interface AcquireRequest {
  readonly kind: string | undefined;
  readonly slice: string | undefined;
  readonly memoryBytes: number;
  /** Undefined: as many as the slice has. */
  readonly vectors: number | undefined;
  /** Weakest isolation that will do. */
  readonly isolation: Isolation | undefined;
  /** Weakest revocation that will do. */
  readonly revocation: Revocation | undefined;
  /** No other lease on the function at the same time, although its driver allows for more. */
  readonly exclusive: boolean;
  /** Windows by message alone will not do. */
  readonly mapped: boolean;
  readonly ttlMs: number | undefined;
  readonly holder: 'acquirer' | 'fd';
  readonly waitMs: number;
  readonly priority: number;
  /** The client listens on a socket of its own, for a VM monitor to connect to. */
  readonly listen: boolean;
}

export interface PeerFacts {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** What `serve` was told to allow. */
export interface PolicySwitches {
  readonly allowCooperative: boolean;
  readonly allowUnsealedMemory: boolean;
  /** Clients that are not trusted get windows with which they can harm the kernel. */
  readonly forceDmaBufWindows: boolean;
  /** Clients that ask for it get the whole device, and are killed to take it back. */
  readonly allowProcess: boolean;
}

/** What the function and its driver can give this request. */
export interface Offer {
  /** Isolation of every lease of the function, as far as its driver and device go. */
  readonly isolation: Isolation;
  /** Another process serves the function: it has to be trusted, whatever the driver does. */
  readonly served: boolean;
  /** Ways to end register access, the preferred one first. Empty: no window can be made. */
  readonly revocations: readonly Revocation[];
  /** What clients map. */
  readonly windows: WindowTraits;
  /** Vectors of one slice of the wanted kind. */
  readonly vectors: number;
  readonly iovaPageBytes: number;
  /** Bytes that an IOVA window can have at most on this function. */
  readonly apertureBytes: number;
  /** Bytes of the windows of one slice that clients map. */
  readonly windowBytes: number;
}

export interface Usage {
  /** Live, queued and quarantined leases of the peer's uid. */
  readonly leasesOfUid: number;
  /** Window bytes of the uid's listening leases, until their connections have ended. */
  readonly orphanBytesOfUid: number;
  readonly draining: boolean;
}

/** Site limits, at most those of src/base/limits.ts. */
export interface PolicyLimits {
  readonly leasesPerUidMax: number;
  readonly orphanBytesPerUidMax: number;
  readonly leaseMemoryBytesMax: number;
  readonly vectorsPerLeaseMax: number;
  readonly ttlMsMax: number;
  readonly waitMsMax: number;
  readonly priorityMax: number;
}

export interface Facts {
  readonly peer: PeerFacts;
  readonly brokerUid: number;
  readonly brokerPid: number;
  readonly switches: PolicySwitches;
  readonly offer: Offer;
  readonly usage: Usage;
  readonly limits: PolicyLimits;
}

/** What a lease is given with; fixed at grant. */
export interface LeaseTerms {
  readonly isolation: Isolation;
  readonly revocation: Revocation;
  /** No other lease on the function at the same time. */
  readonly exclusive: boolean;
  /** Whole IOVA pages. */
  readonly memoryBytes: number;
  readonly vectors: number;
  readonly ttlMs: number | undefined;
  readonly ttlMsMax: number;
  readonly holder: 'acquirer' | 'fd';
  readonly waitMs: number;
  readonly priority: number;
  readonly allowUnsealedMemory: boolean;
  /** The IOVA window is the whole of an address space of its own; windows are left, not zapped. */
  readonly listen: boolean;
}

export interface Denial {
  readonly deny: true;
  readonly code: ErrorCode;
  readonly detail: string;
  /** What to do, where the hint of the code does not say it. */
  readonly hint?: string;
}

export type Verdict = { readonly allow: true; readonly terms: LeaseTerms } | Denial;
