// The time of the machine.
import type { Clock } from '../base/clock.js';

/** A longer setTimeout fires at once. */
const timeoutMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    const dueMs = performance.now() + delayMs;
    let timer: ReturnType<typeof setTimeout>;
    // Timers count whole milliseconds from the start of a turn and can fire a little early.
    const arm = (): void => {
      const leftMs = Math.ceil(dueMs - performance.now());
      timer = setTimeout(fire, Math.min(Math.max(leftMs, 0), timeoutMsMax));
    };
    const fire = (): void => {
      if (performance.now() < dueMs) arm();
      else callback();
    };
    arm();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
