// Waiting for a queue to be idle.
import type { Clock } from '../../base/clock.js';
import { queueStatus } from '../../device/mqdma/datasheet.js';
import { pollIdle } from '../poll.js';
import { allOnes, type QueueRegisters } from './queue-registers.js';

/**
 * Polls STATUS until no DMA is under way. A dead function reads all ones, IDLE among them: that
 * proves nothing, so it is `busy`.
 */
export function waitIdle(
  registers: QueueRegisters,
  clock: Clock,
  signal: AbortSignal,
): Promise<'idle' | 'busy'> {
  return pollIdle(
    async () => {
      const status = await registers.read('STATUS');
      if (status === allOnes) return 'dead';
      return (status & queueStatus.IDLE) !== 0 ? 'idle' : 'working';
    },
    clock,
    signal,
  );
}
