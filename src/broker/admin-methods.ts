// The methods of io.lessor.Admin: what the operator may do.
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { toCount } from '../base/units.js';
import type { RunningDriver } from '../driver/types.js';
import { closeAll } from '../os/fd.js';
import { adminDenial } from '../policy/operate.js';
import type { VarlinkCall } from '../varlink/call.js';
import type { BrokerContext } from './context.js';
import type { FunctionLife } from './function-life.js';
import type { Granter } from './granter.js';
import { inTime } from './in-time.js';
import type { Inventory } from './inventory.js';
import type { LeaseBook } from './lease-book.js';
import type { LeaseDesk } from './lease-desk.js';

export interface AdminMethodsOptions {
  readonly context: BrokerContext;
  readonly desk: LeaseDesk;
  readonly book: LeaseBook;
  readonly granter: Granter;
  readonly inventory: Inventory;
  readonly life: FunctionLife;
  readonly driver: RunningDriver;
  readonly shutdown: () => void;
  /** Pids of the helper processes. */
  readonly helperPids: () => readonly number[];
}

const drainMsDefault = 60_000;
const drainMsMax = 24 * 3600 * 1000;
const O_RDONLY = 0;
const O_DIRECTORY = 0o200000;

function reasonFrom(text: string | undefined): string {
  const reason = text ?? '';
  if (reason.length > limits.reasonCharsMax) {
    throw new LessorError('INVALID_ARGUMENT', `a reason has ${limits.reasonCharsMax} characters`);
  }
  return reason === '' ? 'operator' : `operator: ${reason}`;
}

export class AdminMethods {
  readonly #options: AdminMethodsOptions;

  constructor(options: AdminMethodsOptions) {
    this.#options = options;
  }

  readonly Revoke = (
    parameters: { id: string; reason?: string; graceMs?: number },
    call: VarlinkCall,
  ): object => {
    this.#admit(call);
    const graceMs = toCount(parameters.graceMs ?? 0, 'graceMs', limits.graceMsMax);
    this.#options.desk.revoke(parameters.id, reasonFrom(parameters.reason), graceMs);
    return {};
  };

  readonly Release = async (parameters: { id: string }, call: VarlinkCall): Promise<object> => {
    this.#admit(call);
    await this.#options.desk.release(parameters.id);
    return {};
  };

  readonly ReleaseQuarantine = async (
    parameters: { slice: string },
    call: VarlinkCall,
  ): Promise<object> => {
    this.#admit(call);
    const { context, inventory, book } = this.#options;
    const status = inventory.status(parameters.slice);
    const lease = book.live.find(
      (candidate) =>
        candidate.terms.slice.name === parameters.slice && candidate.state.name === 'quarantined',
    );
    if (status.state !== 'quarantined' || lease === undefined) {
      throw new LessorError('NOT_QUARANTINED', `slice ${parameters.slice} is ${status.state}`);
    }
    const { clock } = context.os;
    const { ungrantMs } = context.deadlines;
    const ungranted = await inTime(clock, ungrantMs, () => lease.resources.giveBack());
    if (ungranted.type === 'failed') throw ungranted.error;
    if (ungranted.type === 'timeout') {
      throw new LessorError('DEADLINE_EXCEEDED', `${parameters.slice} did not answer`);
    }
    lease.dispatch({ type: 'quarantineReleased' });
    return {};
  };

  readonly Reset = async (parameters: { reason?: string }, call: VarlinkCall): Promise<object> => {
    this.#admit(call);
    return { epoch: await this.#options.life.reset(reasonFrom(parameters.reason)) };
  };

  readonly Drain = async (
    parameters: { deadlineMs?: number },
    call: VarlinkCall,
  ): Promise<object> => {
    this.#admit(call);
    const { granter, book, context } = this.#options;
    const deadlineMs = toCount(parameters.deadlineMs ?? drainMsDefault, 'deadlineMs', drainMsMax);
    granter.drain();
    const leases = book.live.filter((lease) => lease.state.name !== 'quarantined');
    const done = await inTime(context.os.clock, deadlineMs, () =>
      Promise.all(leases.map((lease) => lease.settled)),
    );
    if (done.type === 'timeout') {
      const left = book.live.filter((lease) => lease.state.name !== 'quarantined').length;
      throw new LessorError('DEADLINE_EXCEEDED', `${left} leases are left`);
    }
    return {};
  };

  readonly Shutdown = (_parameters: object, call: VarlinkCall): object => {
    this.#admit(call);
    // After the reply has been handed to the socket.
    setImmediate(this.#options.shutdown);
    return {};
  };

  readonly Inspect = (_parameters: object, call: VarlinkCall): undefined => {
    this.#admit(call);
    const { context, granter, book, helperPids } = this.#options;
    const { ioctl } = context.os;
    const fds = [ioctl.open('/proc/self/fd', O_RDONLY | O_DIRECTORY)];
    try {
      fds.push(ioctl.open('/proc/self/maps', O_RDONLY));
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    call.reply(
      {
        fdDirectory: 0,
        maps: 1,
        iovaBytes: granter.iovaBytes,
        pasids: granter.pasidCount,
        processes: helperPids(),
        leases: book.liveCount,
      },
      { fds },
    );
    return undefined;
  };

  readonly Inject = async (
    parameters: { slice: string; fault: string; value: number },
    call: VarlinkCall,
  ): Promise<object> => {
    this.#admit(call);
    const { context, driver, inventory } = this.#options;
    if (!context.switches.faultInjection) {
      throw new LessorError('UNSUPPORTED', 'fault injection is off', {
        hint: 'start the broker with --fault-injection',
      });
    }
    inventory.status(parameters.slice);
    const slice = driver.slices.find((candidate) => candidate.name === parameters.slice);
    if (slice === undefined || driver.inject === undefined) {
      throw new LessorError('UNSUPPORTED', 'this driver injects no faults');
    }
    await driver.inject(slice, parameters.fault, parameters.value);
    return {};
  };

  #admit(call: VarlinkCall): void {
    const denial = adminDenial(call.credentials.uid, this.#options.context.os.processes.uid);
    if (denial !== undefined) throw new LessorError(denial.code, denial.detail);
  }
}
