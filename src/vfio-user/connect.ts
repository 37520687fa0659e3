// From the path of a socket to a client, in bounded time.
import type { Clock } from '../base/clock.js';
import { isOsError, LessorError } from '../base/errors.js';
import type { SocketOs, StreamSocket } from '../os/socket-types.js';
import { connectVfioUser, type VfioUserClient } from './client.js';
import type { VfioUserClientOptions } from './requester.js';

export interface VfioUserConnectOptions extends VfioUserClientOptions {
  readonly sockets: Pick<SocketOs, 'connect'>;
  /** Time until the server has accepted and negotiated. Default 5 s. */
  readonly connectDeadlineMs?: number;
}

const connectDeadlineMsDefault = 5000;
const retryMs = 20;

function wait(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}

/** Connects; where the listener's queue is full, as often as it takes. */
async function dial(
  path: string,
  { sockets, clock }: VfioUserConnectOptions,
  dueMs: number,
): Promise<StreamSocket> {
  for (;;) {
    try {
      return sockets.connect(path);
    } catch (error) {
      if (!isOsError(error, 'EAGAIN')) throw error;
      if (clock.nowMs() >= dueMs) {
        const detail = `the listener at ${path} takes no further connection`;
        throw new LessorError('DEADLINE_EXCEEDED', detail, { cause: error });
      }
    }
    await wait(clock, retryMs);
  }
}

/**
 * Connects to the socket of a server and negotiates.
 *
 * @throws OsError `ENOENT`, `ECONNREFUSED`, `EACCES`, or the server's errno; ProtocolError;
 *   LessorError `DEADLINE_EXCEEDED` for a server that does not accept, or accepts and is silent.
 */
export async function connectVfioUserPath(
  path: string,
  options: VfioUserConnectOptions,
): Promise<VfioUserClient> {
  const { clock, connectDeadlineMs = connectDeadlineMsDefault } = options;
  const dueMs = clock.nowMs() + connectDeadlineMs;
  const socket = await dial(path, options, dueMs);
  return connectVfioUser(socket, options, Math.max(1, dueMs - clock.nowMs()));
}
