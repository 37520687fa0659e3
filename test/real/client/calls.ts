// What a case can ask of a client process, whatever device its lease is of.

export interface Terms {
  readonly slice?: string;
  readonly revocation?: string;
  readonly holder?: 'acquirer' | 'fd';
  readonly ttlMs?: number;
  readonly waitMs?: number;
}

export interface Taken {
  readonly id: string;
  readonly slice: string;
  readonly isolation: string;
  readonly revocation: string;
  readonly iovaBase: number;
  readonly iovaBytes: number;
  /** Where the client's data is, as the device sees it. */
  readonly dataIova: number;
  readonly dataBytes: number;
}

export interface Aim {
  /** What the device is to read or write: none of the client's memory. */
  readonly iova: number;
  readonly access: 'read' | 'write';
}

export interface Sight {
  readonly closed: boolean;
  /** Why the lease ended; empty while it has not. */
  readonly reason: string;
  /** The first register: its value, or the errno with which it was refused. */
  readonly register: number | string;
  /** Milliseconds that the look took. */
  readonly tookMs: number;
}

export interface RealCalls {
  acquire(terms: Terms): Promise<Taken>;
  /** @returns The code of the error with which the same is refused. */
  refused(terms: Terms): Promise<string>;
  /** So many rounds of work on data that is compared. @returns What was wrong first, or `ok`. */
  work(rounds: number): Promise<string>;
  /** Work without end, in the background; ends with the lease. */
  startWork(): Promise<void>;
  /** How the background work ended: `ok`, or what was wrong. Waits for that. */
  stopWork(): Promise<string>;
  /** Leaves one operation under way that moves the client's own data. */
  submit(): Promise<void>;
  /**
   * Has the device reach for what is not the client's.
   *
   * @returns What the device said, or `done`.
   */
  aim(aim: Aim): Promise<string>;
  paint(seed: number): Promise<void>;
  /** A digest of the client's data. */
  hash(): Promise<string>;
  look(): Promise<Sight>;
  /** Resolves when the lease has ended. */
  ended(): Promise<Sight>;
  close(): Promise<void>;
}
