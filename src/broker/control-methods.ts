// The methods of io.lessor.Control: what clients may ask.
import { LessorError } from '../base/errors.js';
import { manageDenial } from '../policy/operate.js';
import { toAcquireRequest } from '../policy/request.js';
import type { VarlinkCall } from '../varlink/call.js';
import type { AcquireParameters, EventRecord, InfoReply } from '../varlink/interface.js';
import type { LeaseDesk } from './lease-desk.js';

/** Bytes a monitor may be behind before its connection is given up. */
const monitorQueueBytesMax = 1024 * 1024;

export interface ControlMethodsOptions {
  readonly desk: LeaseDesk;
  readonly info: () => InfoReply;
  readonly subscribe: (listener: (event: EventRecord) => void) => Disposable;
}

/** The parameters of a method that names a lease. */
interface LeaseParameters {
  readonly id: string;
}

export class ControlMethods {
  readonly #options: ControlMethodsOptions;

  constructor(options: ControlMethodsOptions) {
    this.#options = options;
  }

  readonly GetInfo = (): InfoReply => this.#options.info();

  readonly List = (): object => ({ leases: this.#options.desk.records() });

  /** The first reply carries lease and descriptor; events follow until the lease has ended. */
  readonly Acquire = async (
    parameters: AcquireParameters,
    call: VarlinkCall,
  ): Promise<object | undefined> => {
    const request = toAcquireRequest(parameters);
    // Of an upgraded connection the lease is all that is left, and its end is the lease's.
    if (request.holder === 'acquirer' && !call.upgrade) call.requireMore();
    if (call.upgrade && request.listen) {
      throw new LessorError('INVALID_ARGUMENT', 'an upgrade and listen are two ways to connect');
    }
    const listener = parameters.listen === undefined ? undefined : call.takeFd(parameters.listen);
    const { lease, fd, record } = await this.#options.desk.open(request, call, listener);
    if (call.upgrade) return undefined;
    const first = fd === undefined ? { lease: record } : { lease: record, fd: 0 };
    const fds = fd === undefined ? [] : [fd];
    if (!call.more) {
      call.reply(first, { fds });
      return undefined;
    }
    // Subscribed before the first reply: nothing that happens after it is missed.
    const pending: object[] = [];
    let started = false;
    const events = lease.onEvent((details) => {
      if (details.type === 'granted' || details.type === 'phase') return;
      const event = { ...this.#options.desk.stamp(details) };
      if (started && details.type !== 'ended') call.reply({ event }, { continues: true });
      else pending.push({ event });
    });
    try {
      call.reply(first, { continues: true, fds });
      started = true;
      for (const early of pending.splice(0)) call.reply(early, { continues: true });
      await Promise.race([lease.ended, aborted(call.closed)]);
      return call.closed.aborted ? {} : (pending[0] ?? {});
    } finally {
      events[Symbol.dispose]();
      if (call.closed.aborted) this.#options.desk.connectionGone(lease);
    }
  };

  readonly Renew = (parameters: LeaseParameters & { ttlMs: number }, call: VarlinkCall): object => {
    const { desk } = this.#options;
    this.#checkManager(parameters.id, call);
    return { expiresMs: desk.renew(parameters.id, parameters.ttlMs) };
  };

  readonly Release = async (parameters: LeaseParameters, call: VarlinkCall): Promise<object> => {
    this.#checkManager(parameters.id, call);
    await this.#options.desk.release(parameters.id);
    return {};
  };

  readonly Monitor = async (_parameters: object, call: VarlinkCall): Promise<object> => {
    call.requireMore();
    await new Promise<void>((resolve, reject) => {
      const events = this.#options.subscribe((event) => {
        if (call.closed.aborted) return;
        if (call.queuedBytes > monitorQueueBytesMax) {
          events[Symbol.dispose]();
          reject(new LessorError('QUOTA_EXCEEDED', 'the monitor does not keep up'));
          return;
        }
        call.reply({ event }, { continues: true });
      });
      call.closed.addEventListener('abort', () => {
        events[Symbol.dispose]();
        resolve();
      });
    });
    return {};
  };

  #checkManager(id: string, call: VarlinkCall): void {
    const { desk } = this.#options;
    using pidfd = call.peerPidfd();
    const denial = manageDenial({
      uid: call.credentials.uid,
      isAcquirer: desk.isAcquirer(id, pidfd),
      isAdmin: false,
    });
    if (denial !== undefined) throw new LessorError(denial.code, denial.detail);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
}
