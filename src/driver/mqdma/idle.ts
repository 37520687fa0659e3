// Waiting for a queue to be idle.
import type { Clock } from '../../base/clock.js';
import { queueStatus } from '../../device/mqdma/datasheet.js';
import { allOnes, type QueueRegisters } from './queue-registers.js';

/** Looks in a row before the first pause: DMA that is nearly done ends within them. */
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

/**
 * Polls STATUS until no DMA is under way. A dead function reads all ones, IDLE among them: that
 * proves nothing, so it is `busy`.
 */
export async function waitIdle(
  registers: QueueRegisters,
  clock: Clock,
  signal: AbortSignal,
): Promise<'idle' | 'busy'> {
  for (let looks = 1; ; looks++) {
    const status = await registers.read('STATUS');
    if (status === allOnes) return 'busy';
    if ((status & queueStatus.IDLE) !== 0) return 'idle';
    if (signal.aborted) return 'busy';
    if (looks >= eagerLooks) await pause(clock, signal);
  }
}
