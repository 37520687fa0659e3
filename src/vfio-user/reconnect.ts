// A client that outlives its server: notices its death, connects again, tells the new one what the
// old one knew, and goes on only with the same device.
import { errnoOf, isLessorError, isOsError, LessorError, OsError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { closeAll } from '../os/fd.js';
import type { StreamSocket } from '../os/socket-types.js';
import { connectVfioUser, type VfioUserClient } from './client.js';
import type { DmaMapRequest, DmaRange, IrqChange } from './endpoint.js';
import {
  attemptsAfter,
  type BackoffTerms,
  defaultBackoff,
  pauseBefore,
} from './reconnect-backoff.js';
import { type DeviceIdentity, differenceOf, readIdentity } from './reconnect-identity.js';
import { copiesOf, copyOf, ReplayState } from './reconnect-replay.js';
import type { VfioUserClientOptions } from './requester.js';

export interface ReconnectOptions extends VfioUserClientOptions {
  /**
   * Connects without waiting, as `os.sockets.connect(path)` does. The socket is not started yet;
   * its ownership passes.
   */
  readonly dial: () => StreamSocket;
  /** Longest time for one attempt: version, comparison and replay. Default 5 s. */
  readonly attemptMs?: number;
  readonly backoff?: Partial<BackoffTerms>;
  /** Longest outage; then the client ends with `SERVER_GONE`. Default one minute. */
  readonly outageMs?: number;
  /** How long a request waits for a server that is away; 0, the default: it fails at once. */
  readonly waitMs?: number;
  /** False: DMA maps end with the connection they were made on. Default true. */
  readonly replayMaps?: boolean;
  /** Brings back what only the caller knows, registers say, before maps and interrupts. */
  readonly restore?: (client: VfioUserClient) => Promise<void>;
}

export type ReconnectEvent =
  /** The server is away; undefined: it closed the connection in order. */
  | { readonly type: 'lost'; readonly error: Error | undefined }
  /** The same device is back and knows its maps and interrupts; registers are its own matter. */
  | { readonly type: 'restored'; readonly outageMs: number; readonly attempts: number }
  /** It does not come back, or came back as another: `SERVER_GONE`, `DEVICE_CHANGED`. */
  | { readonly type: 'ended'; readonly error: LessorError };

interface Waiter {
  readonly resolve: (client: VfioUserClient) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Disposable;
}

const attemptMsDefault = 5000;
const outageMsDefault = 60_000;

function wentAway(): OsError {
  return new OsError('EPIPE', 'recvmsg', 'the server went away again');
}

/** An errno that the server itself answered, as opposed to the end of its connection. */
function isAnswer(error: unknown): boolean {
  if (isOsError(error)) return error.syscall === 'vfio-user' && error.errno !== 'ECANCELED';
  return isLessorError(error);
}

/**
 * A connection to a served device that is made again when the server died: at end-of-file, when it
 * breaks the protocol, and when a request is not answered in time. Requests under way then reject
 * with `SERVER_GONE` (the one whose time was over with `DEADLINE_EXCEEDED`); whether they took
 * effect is not known. Unmapping and unbinding succeed without a server: nothing is mapped there.
 */
export class ReconnectingClient implements Disposable {
  readonly #options: ReconnectOptions;
  readonly #backoff: BackoffTerms;
  readonly #identity: DeviceIdentity;
  readonly #state = new ReplayState();
  readonly #events = new Listeners<ReconnectEvent>();
  readonly #waiters = new Set<Waiter>();
  /** Present while connected. */
  #client: VfioUserClient | undefined;
  /** Ends the attempt that is under way. */
  #attempting: AbortController | undefined;
  #connectedMs = 0;
  #lostMs = 0;
  /** Attempts since the last stable connection, and in this outage. */
  #countedAttempts = 0;
  #attempts = 0;
  #timer: Disposable | undefined;
  /** While an attempt tells the new server what it missed. */
  #replaying: Promise<void> | undefined;
  #ended: LessorError | OsError | undefined;

  /** @see connectReconnecting */
  constructor(options: ReconnectOptions, client: VfioUserClient, identity: DeviceIdentity) {
    this.#options = options;
    this.#backoff = { ...defaultBackoff, ...options.backoff };
    this.#identity = identity;
    this.#adopt(client);
  }

  /** What the device is; the same for all connections. */
  get identity(): DeviceIdentity {
    return this.#identity;
  }

  /** The present connection; undefined while the server is away, and after the end. */
  get client(): VfioUserClient | undefined {
    return this.#client;
  }

  get state(): 'connected' | 'lost' | 'ended' {
    if (this.#ended !== undefined) return 'ended';
    return this.#client === undefined ? 'lost' : 'connected';
  }

  onEvent(listener: (event: ReconnectEvent) => void): Disposable {
    return this.#events.add(listener);
  }

  /**
   * Runs requests that leave no state behind in the connection: register accesses, questions.
   * `work` starts before this returns when the server is there.
   *
   * @throws what `work` rejects with; LessorError `SERVER_GONE`, `DEVICE_CHANGED`, `QUEUE_FULL`;
   *   OsError `ECANCELED` after `close`.
   */
  async run<T>(work: (client: VfioUserClient) => Promise<T> | T): Promise<T> {
    const client = this.#client ?? (await this.#wait());
    try {
      return await work(client);
    } catch (error) {
      throw this.#judge(client, error);
    }
  }

  /** As of the client. Takes ownership of `request.fd`, and keeps it until the unmap. */
  async dmaMap(request: DmaMapRequest): Promise<void> {
    try {
      await this.run((client) => client.dmaMap({ ...request, ...copyOf(request.fd) }));
    } catch (error) {
      request.fd?.close();
      throw error;
    }
    if (this.#ended !== undefined || this.#options.replayMaps === false) request.fd?.close();
    else this.#state.addMap(request);
  }

  /** As of the client: the device can no longer reach the range through any connection. */
  async dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    await this.#takeBack(
      (client) => client.dmaUnmap(range),
      () => this.#state.removeMaps(range),
    );
  }

  /** As of the client. Takes ownership of a bind's `fds`, and keeps them until the unbind. */
  async setIrqs(change: IrqChange): Promise<void> {
    if (change.action === 'unbind' || change.action === 'disable') {
      await this.#takeBack(
        (client) => client.setIrqs(change),
        () => this.#state.noteIrqs(change),
      );
      return;
    }
    try {
      await this.run((client) =>
        client.setIrqs(
          change.action === 'bind' ? { ...change, fds: copiesOf(change.fds) } : change,
        ),
      );
    } catch (error) {
      if (change.action === 'bind') closeAll(change.fds);
      throw error;
    }
    if (this.#ended === undefined) this.#state.noteIrqs(change);
    else if (change.action === 'bind') closeAll(change.fds);
  }

  /** Treats the server as dead, for what it did or left undone; as if it had closed. */
  giveUp(error: Error): void {
    if (this.#client !== undefined) this.#lose(this.#client, error);
  }

  /** Closes for good: requests reject with OsError `ECANCELED`, no event comes. */
  close(): void {
    this.#finish(new OsError('ECANCELED', 'vfio-user', 'closed here'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** What takes something away is done as well when the connection that had it is over. */
  async #takeBack(
    ask: (client: VfioUserClient) => Promise<void>,
    forget: () => void,
  ): Promise<void> {
    const client = this.#client;
    if (client !== undefined) {
      try {
        await ask(client);
      } catch (error) {
        const judged = this.#judge(client, error);
        if (this.#client === client) throw judged;
      }
    }
    forget();
    // A new server may just have been told of it; it forgets again before it counts as back.
    await this.#replaying?.catch(() => undefined);
  }

  /** What a caller hears of a failed request; notices a server that does not answer. */
  #judge(client: VfioUserClient, error: unknown): unknown {
    if (isLessorError(error) && error.code === 'DEADLINE_EXCEEDED') this.#lose(client, error);
    if (this.#client === client && client.isOpen) return error;
    if (isAnswer(error) || errnoOf(error) === undefined) return error;
    if (this.#ended !== undefined) return this.#ended;
    const detail = 'the server went away before it answered';
    return new LessorError('SERVER_GONE', detail, { cause: error });
  }

  #adopt(client: VfioUserClient): void {
    this.#client = client;
    this.#connectedMs = this.#options.clock.nowMs();
    client.onClosed((error) => this.#lose(client, error));
    for (const waiter of [...this.#waiters]) {
      this.#drop(waiter);
      waiter.resolve(client);
    }
  }

  #lose(client: VfioUserClient, error: Error | undefined): void {
    if (this.#client !== client) return;
    const nowMs = this.#options.clock.nowMs();
    this.#client = undefined;
    client.close();
    this.#lostMs = nowMs;
    this.#attempts = 0;
    const livedMs = nowMs - this.#connectedMs;
    this.#countedAttempts = attemptsAfter(livedMs, this.#countedAttempts, this.#backoff);
    if (this.#options.replayMaps === false) this.#state.removeMaps('all');
    this.#schedule();
    this.#events.emit({ type: 'lost', error });
  }

  #schedule(): void {
    const { clock, outageMs = outageMsDefault } = this.#options;
    const leftMs = this.#lostMs + outageMs - clock.nowMs();
    const pauseMs = pauseBefore(this.#countedAttempts, this.#backoff);
    if (pauseMs > leftMs) {
      this.#timer = clock.after(Math.max(leftMs, 0), () => {
        const detail = `the server is not back after ${outageMs} ms and ${this.#attempts} attempts`;
        this.#end(new LessorError('SERVER_GONE', detail));
      });
      return;
    }
    this.#timer = clock.after(pauseMs, () => {
      this.#attempts += 1;
      this.#countedAttempts += 1;
      void this.#attempt();
    });
  }

  async #attempt(): Promise<void> {
    this.#attempting = new AbortController();
    try {
      await open(this.#options, this.#attempting, (client) => this.#bringUp(client));
    } catch (error) {
      if (this.#ended !== undefined) return;
      // Only what the peer or the system did wrong is tried again; our own bugs go to the top.
      if (errnoOf(error) === undefined) throw error;
      if (isLessorError(error) && error.code === 'DEVICE_CHANGED') this.#end(error);
      else this.#schedule();
    }
  }

  async #bringUp(client: VfioUserClient): Promise<void> {
    const difference = differenceOf(this.#identity, await readIdentity(client));
    if (difference !== undefined) throw new LessorError('DEVICE_CHANGED', difference);
    await this.#options.restore?.(client);
    this.#replaying = this.#state.replay(client, () => {
      if (this.#ended !== undefined || !client.isOpen) return;
      const outageMs = this.#options.clock.nowMs() - this.#lostMs;
      this.#adopt(client);
      this.#events.emit({ type: 'restored', outageMs, attempts: this.#attempts });
    });
    try {
      await this.#replaying;
    } finally {
      this.#replaying = undefined;
    }
    if (this.#client !== client) throw wentAway();
  }

  #wait(): Promise<VfioUserClient> {
    const { clock, waitMs = 0 } = this.#options;
    const gone = (): LessorError => new LessorError('SERVER_GONE', 'the server is away');
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (waitMs === 0) return Promise.reject(gone());
    if (this.#waiters.size >= limits.vfioUserWaitingMax) {
      const detail = `${this.#waiters.size} requests wait for the server`;
      return Promise.reject(new LessorError('QUEUE_FULL', detail));
    }
    return new Promise((resolve, reject) => {
      const timer = clock.after(waitMs, () => {
        this.#drop(waiter);
        reject(gone());
      });
      const waiter: Waiter = { resolve, reject, timer };
      this.#waiters.add(waiter);
    });
  }

  #drop(waiter: Waiter): void {
    waiter.timer[Symbol.dispose]();
    this.#waiters.delete(waiter);
  }

  #end(error: LessorError): void {
    this.#finish(error);
    this.#events.emit({ type: 'ended', error });
  }

  #finish(error: LessorError | OsError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#timer?.[Symbol.dispose]();
    const client = this.#client;
    this.#client = undefined;
    client?.close();
    this.#attempting?.abort();
    this.#state.clear();
    for (const waiter of [...this.#waiters]) {
      this.#drop(waiter);
      waiter.reject(error);
    }
  }
}

/**
 * Dials, negotiates and lets `bringUp` finish within the time of one attempt. The client is closed
 * when any of it fails, and when the caller aborts.
 */
async function open<T>(
  options: ReconnectOptions,
  abort: AbortController,
  bringUp: (client: VfioUserClient) => Promise<T>,
): Promise<T> {
  const { clock, attemptMs = attemptMsDefault } = options;
  const deadlineMs = Math.min(options.deadlineMs ?? attemptMs, attemptMs);
  let late = false;
  const timer = clock.after(attemptMs, () => {
    late = true;
    abort.abort();
  });
  try {
    const { signal } = abort;
    const client = await connectVfioUser(options.dial(), { ...options, deadlineMs, signal });
    const close = (): void => client.close();
    signal.addEventListener('abort', close, { once: true });
    try {
      if (signal.aborted) throw wentAway();
      return await bringUp(client);
    } catch (error) {
      client.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', close);
    }
  } catch (error) {
    if (!late) throw error;
    const detail = `the server was not ready within ${attemptMs} ms`;
    throw new LessorError('DEADLINE_EXCEEDED', detail, { cause: error });
  } finally {
    timer[Symbol.dispose]();
  }
}

/**
 * Connects to a served device, once: a server that is not there now is an error. From then on the
 * connection is made again whenever it is lost.
 *
 * @throws OsError of connect or with the server's errno, ProtocolError, LessorError
 *   `DEADLINE_EXCEEDED`.
 */
export function connectReconnecting(options: ReconnectOptions): Promise<ReconnectingClient> {
  return open(options, new AbortController(), async (client) => {
    const identity = await readIdentity(client);
    // From here on its end is noticed; not an end that came with the last answer.
    if (!client.isOpen) throw wentAway();
    return new ReconnectingClient(options, client, identity);
  });
}
