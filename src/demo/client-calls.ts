// What the story can ask of one of its client processes.
import type { Percentiles } from './report.js';

export interface AcquiredAnswer {
  readonly id: string;
  readonly slice: string;
  readonly iovaBase: number;
  readonly iovaBytes: number;
  readonly isolation: string;
  readonly revocation: string;
  /** Its registers are mapped into the client. */
  readonly isMapped: boolean;
  /** Where the client's own data is, as the device sees it. */
  readonly dataIova: number;
  readonly dataBytes: number;
}

export interface WorkAnswer {
  readonly operations: number;
  readonly bytes: number;
  /** Index of the first wrong byte and its operation, or undefined. */
  readonly wrong?: string;
}

export interface ForeignCopy {
  /** Address that is not the client's. */
  readonly iova: number;
  readonly lengthBytes: number;
  /** `read`: from there into own memory. `write`: own memory to there. */
  readonly direction: 'read' | 'write';
}

export interface ForeignAnswer {
  /** The device said the copy was done. */
  readonly succeeded: boolean;
  /** Words of the device's refusal. */
  readonly refusal?: string;
  /** Bytes of own memory that changed, for reads. */
  readonly bytesReceived: number;
}

export interface SpinAnswer {
  /** Monotonic nanoseconds at which the first all-ones load was seen. */
  readonly seenAtNs: bigint;
  readonly value: number;
  readonly loads: number;
}

export interface AskAnswer {
  /** Monotonic nanoseconds at which the first refusal came. */
  readonly seenAtNs: bigint;
  /** Code of the refusal; undefined when none came in time. */
  readonly code: string | undefined;
}

/** Calls by name; each runs in the client process. */
export interface DemoCalls {
  acquire(terms: { slice?: string; memoryBytes: number }): Promise<AcquiredAnswer>;
  /** Fills all of the client's data with a pattern of its own. */
  paint(seed: number): Promise<void>;
  /** SHA-256 of all memory that the client gave to the device. */
  hash(): Promise<string>;
  roundTrip(rounds: number): Promise<Percentiles>;
  messageRoundTrip(rounds: number): Promise<Percentiles>;
  work(plan: { operations: number; seed: number }): Promise<WorkAnswer>;
  foreignCopy(copy: ForeignCopy): Promise<ForeignAnswer>;
  /** Submits a copy into own memory and answers without waiting for it. */
  submit(lengthBytes: number): Promise<void>;
  /** Spins on a register until it reads all ones; the answer comes when it did. */
  spin(limitMs: number): Promise<SpinAnswer>;
  /** Reads a register by message until that is refused. */
  ask(limitMs: number): Promise<AskAnswer>;
  /** Why the lease ended, once it has. */
  ended(): Promise<string>;
  close(): Promise<void>;
}
