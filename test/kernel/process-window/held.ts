// What a process that has a device tells of it.

/** What a holder says first. */
export interface Held {
  readonly lease: string;
  readonly isolation: string;
  readonly revocation: string;
  /** What its mapping reads: of the device's name, and of what was stored there. */
  readonly identification: number;
  readonly inverted: number;
  /** The same register, after a write by message. */
  readonly afterMessage: number;
}

/** Status of a holder that ended by itself. */
export const leftStatus = 7;
