// Time as a parameter, so that tests and simulations can own it.

export interface Clock {
  /** Monotonic milliseconds, with a fraction. */
  nowMs(): number;
  /** Milliseconds since the epoch, for people and logs only. */
  wallMs(): number;
  /** Calls back once, not before `delayMs`; disposing cancels. */
  after(delayMs: number, callback: () => void): Disposable;
}
