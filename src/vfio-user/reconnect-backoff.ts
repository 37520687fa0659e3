// When to try again: pure numbers. A server that takes every connection and drops it at once is
// met with the same growing pauses as one that is not there.

export interface BackoffTerms {
  /** Pause before the first attempt, milliseconds. */
  readonly firstMs: number;
  /** Longest pause. */
  readonly maxMs: number;
  /** A connection that lived so long makes the next loss start from the first pause again. */
  readonly stableMs: number;
}

export const defaultBackoff: BackoffTerms = { firstMs: 50, maxMs: 5000, stableMs: 10_000 };

/** Doubling past this changes nothing: the maximum is reached long before. */
const doublingsMax = 30;

/** @param attempts - Made since the last stable connection. @returns Milliseconds to wait. */
export function pauseBefore(attempts: number, terms: BackoffTerms): number {
  return Math.min(terms.maxMs, terms.firstMs * 2 ** Math.min(attempts, doublingsMax));
}

/** The attempts that count for the next pause, after a connection that lived `livedMs`. */
export function attemptsAfter(livedMs: number, attempts: number, terms: BackoffTerms): number {
  return livedMs >= terms.stableMs ? 0 : attempts;
}
