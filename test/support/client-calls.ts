// What a test can ask of a client process.
export interface Terms {
  readonly slice?: string;
  readonly memoryBytes?: number;
  readonly revocation?: string;
  readonly holder?: 'acquirer' | 'fd';
  readonly ttlMs?: number;
  readonly waitMs?: number;
  readonly exclusive?: boolean;
  readonly priority?: number;
}

export interface Taken {
  readonly id: string;
  readonly slice: string;
  readonly pasid: number | undefined;
  readonly iovaBase: number;
  readonly iovaBytes: number;
  readonly dataIova: number;
}

export interface Refusal {
  readonly code: string;
  readonly errno: string;
  readonly message: string;
}

export interface Stopped {
  /** What the status window reads in its first word. */
  readonly status: number;
  readonly queueWord: number;
  readonly revoked: boolean;
  readonly closed: boolean;
  readonly reason: string;
}

export interface ClientCalls {
  /** Takes a lease with a queue and 64 KiB of data; the window of the lease has 1 MiB. */
  acquire(terms: Terms): Promise<Taken>;
  /** The same, expected to fail. */
  refused(terms: Terms): Promise<Refusal>;
  /** Nops, and copies whose every byte is compared. @returns The first thing wrong, or 'ok'. */
  work(rounds: number): Promise<string>;
  /** Works until `stopWork`, in the background. */
  startWork(): Promise<void>;
  stopWork(): Promise<{ readonly rounds: number; readonly wrong: string }>;
  /** Maps one more page, as a refusal or 'ok'. */
  map(): Promise<Refusal | 'ok'>;
  /** Resolves when the lease has ended. */
  ended(): Promise<Stopped>;
  /** What the windows read now. */
  look(): Promise<Stopped>;
  revoking(): Promise<{ readonly reason: string; readonly graceMs: number }>;
  renew(id: string, ttlMs: number): Promise<Refusal | 'ok'>;
  release(id: string): Promise<Refusal | 'ok'>;
  reset(): Promise<void>;
  /** Starts a copy that is not waited for. */
  submit(): Promise<void>;
  close(): Promise<void>;
  /**
   * Takes a lease without touching it and starts another process with its descriptors, which
   * keeps them open and does nothing else. @returns Its pid.
   */
  shareWithChild(terms: Terms): Promise<{ readonly id: string; readonly pid: number }>;
  /** Takes a lease without touching it, and closes one of its two connections. */
  closeOne(which: 'control' | 'lease', terms: Terms): Promise<{ readonly id: string }>;
  /** Takes a lease for its descriptor and starts a process that works with it and reports. */
  handOver(reportPath: string): Promise<{ readonly id: string; readonly pid: number }>;
}
