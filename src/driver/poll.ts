// Waiting for a device that has to be asked.
import type { Clock } from '../base/clock.js';

/** What one look at a device showed. `dead`: it does not answer, so more looks show no more. */
export type Look = 'idle' | 'working' | 'dead';

/** Looks in a row before the first pause: work that is nearly done ends within them. */
const eagerLooks = 8;
const pauseMs = 1;

function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(pauseMs, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
    const stop = (): void => {
      timer[Symbol.dispose]();
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** Looks at least once. @returns `idle`, or `busy` when it is dead or `signal` came first. */
export async function pollIdle(
  look: () => Promise<Look>,
  clock: Clock,
  signal: AbortSignal,
): Promise<'idle' | 'busy'> {
  for (let looks = 1; ; looks++) {
    const seen = await look();
    if (seen !== 'working') return seen === 'idle' ? 'idle' : 'busy';
    if (signal.aborted) return 'busy';
    if (looks >= eagerLooks) await pause(clock, signal);
  }
}

/** Runs `work` with a signal that aborts after `limitMs`. */
export async function within<T>(
  clock: Clock,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController();
  const timer = clock.after(limitMs, () => deadline.abort());
  try {
    return await work(deadline.signal);
  } finally {
    timer[Symbol.dispose]();
  }
}
