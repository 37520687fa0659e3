// A deadline around something that may never settle.
import type { Clock } from '../base/clock.js';

export type Timed<T> =
  | { readonly type: 'done'; readonly value: T }
  | { readonly type: 'failed'; readonly error: unknown }
  | { readonly type: 'timeout' };

/**
 * Waits for `work` at most `deadlineMs`. Never rejects. The signal given to `work` aborts at the
 * deadline; what it does after is its own affair, its late failure is swallowed.
 */
export function inTime<T>(
  clock: Clock,
  deadlineMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<Timed<T>> {
  const abort = new AbortController();
  return new Promise((resolve) => {
    const timer = clock.after(deadlineMs, () => {
      resolve({ type: 'timeout' });
      abort.abort();
    });
    const settle = (outcome: Timed<T>): void => {
      timer[Symbol.dispose]();
      resolve(outcome);
    };
    // A synchronous throw of `work` counts as its failure.
    Promise.resolve()
      .then(() => work(abort.signal))
      .then(
        (value) => settle({ type: 'done', value }),
        (error: unknown) => settle({ type: 'failed', error }),
      );
  });
}
