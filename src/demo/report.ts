// What the demo found out, as one JSON object.
import type { ReclaimPhase } from '../lease/types.js';

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

export interface FaultSeen {
  readonly lease: string;
  readonly iova: string;
  readonly access: string;
  readonly reason: string;
}

export interface LeakCount {
  readonly fds: number;
  readonly mappings: number;
  readonly iovaBytes: number;
  readonly pasids: number;
  readonly processes: number;
}

export interface DemoReport {
  ok: boolean;
  /** `emulated`, or what `--function` named. */
  function: string;
  /** isolation/revocation of the leases there were. */
  labels: string[];
  clients: number;
  operations: number;
  bytesVerified: number;
  modes: string[];
  roundTripMicros: Percentiles;
  messageRoundTripMicros: Percentiles;
  reclaimMicros: Partial<Record<ReclaimPhase | 'total', number>>;
  revokeSeenMicros: number;
  faults: FaultSeen[];
  victimIntact: boolean;
  nextTenantIntact: boolean;
  /** True when the attack under `cooperative` succeeded, as it must. */
  positiveControl: boolean;
  /** What cannot be shown here, and why. It is no failure. */
  impossible: { step: string; reason: string }[];
  leaks: LeakCount;
  /** Checks that failed, in words; empty when ok. */
  failures: string[];
}

export function emptyReport(source = 'emulated'): DemoReport {
  return {
    ok: false,
    function: source,
    labels: [],
    clients: 0,
    operations: 0,
    bytesVerified: 0,
    modes: [],
    roundTripMicros: { p50: 0, p99: 0 },
    messageRoundTripMicros: { p50: 0, p99: 0 },
    reclaimMicros: {},
    revokeSeenMicros: 0,
    faults: [],
    victimIntact: true,
    nextTenantIntact: true,
    positiveControl: false,
    impossible: [],
    leaks: { fds: 0, mappings: 0, iovaBytes: 0, pasids: 0, processes: 0 },
    failures: [],
  };
}

/** p50 and p99 of samples, which are sorted in place. */
export function percentilesOf(samples: Float64Array): Percentiles {
  samples.sort();
  const at = (share: number): number =>
    samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
