// One lease: feeds events to the state machine and carries out the effects it names.

import type { ErrorCode } from '../base/errors.js';
import { assert, LessorError, unreachable } from '../base/errors.js';
import { Listeners } from '../base/listeners.js';
import { initialLease, type LeaseOperation, leaseStep, useRefusal } from '../lease/lease-step.js';
import type {
  EndReason,
  LeaseEffect,
  LeaseEvent,
  LeaseState,
  ReclaimPhase,
} from '../lease/types.js';
import type { BrokerContext } from './context.js';
import type { EventDetails } from './event-hub.js';
import type { HolderProcess } from './holder-process.js';
import { inTime } from './in-time.js';
import { LeaseResources } from './lease-resources.js';
import type { LeaseTerms } from './lease-terms.js';
import { runPhase } from './reclaim.js';

/** What a lease needs of its endpoint on the lease fd. */
export interface LeaseConnection {
  fence(): void;
  close(): void;
  /** After the end it goes on answering until the peer has had enough: a VM monitor's. */
  readonly keepsPeer: boolean;
}

export interface LeaseHooks {
  /** The slice may be leased again; PASID and IOVA window too. */
  readonly free: () => void;
  /** The slice goes out of use until the quarantine is released. */
  readonly quarantine: () => void;
}

export class BrokerLease {
  readonly terms: LeaseTerms;
  readonly resources: LeaseResources;
  readonly #context: BrokerContext;
  readonly #hooks: LeaseHooks;
  readonly #events = new Listeners<EventDetails>();
  readonly #granted: Promise<void>;
  readonly #ended: Promise<EndReason>;
  readonly #settled: Promise<void>;
  #resolveGranted: () => void = () => {};
  #rejectGranted: (error: LessorError) => void = () => {};
  #resolveEnded: (reason: EndReason) => void = () => {};
  #resolveSettled: () => void = () => {};
  #enabled: { promise: Promise<void> } | undefined;
  #state: LeaseState = initialLease();
  #connection: LeaseConnection | undefined;
  #graceTimer: Disposable | undefined;
  #lingerTimer: Disposable | undefined;
  #isOver = false;
  #isGone = false;
  readonly #gone = new Listeners<void>();
  #idle = false;

  /** @param holder - The process that gets the device, for such a lease. Owned. */
  constructor(
    context: BrokerContext,
    terms: LeaseTerms,
    hooks: LeaseHooks,
    holder?: HolderProcess,
  ) {
    this.#context = context;
    this.#hooks = hooks;
    this.terms = terms;
    const events = {
      onBroken: (detail: string) => this.break(detail),
      shareRefusal: () => useRefusal(this.#state, 'share'),
    };
    this.resources = new LeaseResources(context, terms, events, holder);
    this.#granted = new Promise((resolve, reject) => {
      this.#resolveGranted = resolve;
      this.#rejectGranted = reject;
    });
    this.#granted.catch(() => undefined);
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#settled = new Promise((resolve) => {
      this.#resolveSettled = resolve;
    });
  }

  get state(): LeaseState {
    return this.#state;
  }

  /** Resolves once granted; rejects with `DRIVER_FAILED` or why it ended before. */
  get granted(): Promise<void> {
    return this.#granted;
  }

  /** Resolves when the reclaim is over, with the slice free or in quarantine. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Resolves when the holder was told the end. */
  get ended(): Promise<EndReason> {
    return this.#ended;
  }

  /** Events of this lease, for its acquirer. */
  onEvent(listener: (event: EventDetails) => void): Disposable {
    return this.#events.add(listener);
  }

  /** Joins the lease to the connection that serves its fd. */
  attach(connection: LeaseConnection): void {
    assert(this.#connection === undefined, 'a lease has one connection');
    this.#connection = connection;
    if (this.#state.name !== 'granted') connection.fence();
  }

  /**
   * Connects the windows, the first time; later calls join that one.
   *
   * @throws LessorError `WINDOW_SEALS` (the lease ends), `LEASE_*` when it is not `granted`.
   */
  enable(): Promise<void> {
    if (this.#enabled === undefined) {
      this.checkUse('enable');
      assert(this.dispatch({ type: 'enable' }), 'enable in a state that allows it');
      assert(this.#enabled !== undefined, 'enable connects the windows');
    }
    return (this.#enabled as { promise: Promise<void> }).promise;
  }

  /** Ends the lease through its holder's doing. */
  break(detail: string): void {
    this.dispatch({ type: 'broken', detail });
  }

  /**
   * Throws unless the holder may do this now.
   *
   * @throws LessorError `LEASE_REVOKED`, `LEASE_REVOKING`, `LEASE_ENDED`, `LEASE_STALE`,
   *   `LEASE_NOT_ENABLED`, `FUNCTION_GONE`
   */
  checkUse(operation: LeaseOperation): void {
    const code = useRefusal(this.#state, operation);
    if (code !== undefined) throw new LessorError(code, `the lease is ${this.#state.name}`);
  }

  /** Publishes something that happened to this lease. */
  publish(details: EventDetails): void {
    const event = { ...details, lease: this.terms.id, slice: this.terms.slice.name };
    this.#context.hub.publish({ ...event, uid: this.terms.uid });
    this.#events.emit(event);
  }

  /** Feeds one event to the machine. False when it is illegal in this state. */
  dispatch(event: LeaseEvent): boolean {
    const step = leaseStep(this.#state, event);
    if (step === undefined) return false;
    if (event.type === 'release' || event.type === 'holderGone') this.resources.letLeave();
    this.#state = step.next;
    for (const effect of step.effects) this.#carryOut(effect);
    return true;
  }

  #carryOut(effect: LeaseEffect): void {
    switch (effect.type) {
      case 'startGrant':
        this.#background(this.#grant());
        break;
      case 'publishGrant':
        this.publish({ type: 'granted', state: this.#state.name });
        this.#resolveGranted();
        break;
      case 'connectWindows':
        this.#enabled = { promise: this.#connect() };
        this.#enabled.promise.catch(() => undefined);
        break;
      case 'refuse':
        this.#refuse(effect.code, effect.detail);
        break;
      case 'announceRevoke':
        this.#announceRevoke(effect.reason, effect.graceMs);
        break;
      case 'startGraceTimer':
        this.#graceTimer?.[Symbol.dispose]();
        this.#graceTimer = this.#context.os.clock.after(effect.graceMs, () =>
          this.dispatch({ type: 'graceOver' }),
        );
        break;
      case 'startPhase':
        this.#background(this.#phase(effect.phase));
        break;
      case 'announceEnd':
        this.#announceEnd(effect.reason);
        break;
      case 'quarantineSlice':
        this.publish({ type: 'quarantined', ...this.#reasonOf() });
        this.#hooks.quarantine();
        this.#resolveSettled();
        break;
      case 'freeSlice':
        this.#hooks.free();
        // One that was refused has no endpoint that could linger.
        if (this.#state.published !== true) this.closeConnection();
        this.#resolveSettled();
        break;
      default:
        unreachable(effect);
    }
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => this.#context.bug(error));
  }

  async #grant(): Promise<void> {
    const { os, deadlines, log } = this.#context;
    const opened = await inTime(os.clock, deadlines.grantMs, () => this.resources.open());
    if (opened.type === 'done') {
      this.dispatch({ type: 'granted' });
      return;
    }
    const detail = opened.type === 'timeout' ? 'the driver did not answer' : String(opened.error);
    log.error('grant failed', { lease: this.terms.id, detail });
    this.dispatch({ type: 'grantFailed', detail });
  }

  async #connect(): Promise<void> {
    const { os, deadlines } = this.#context;
    const done = await inTime(os.clock, deadlines.connectMs, () => this.resources.connect());
    if (done.type === 'done') {
      this.publish({ type: 'enabled', state: this.#state.name });
      return;
    }
    const why = done.type === 'timeout' ? 'windows could not be connected in time' : done.error;
    // In the next turn: the fence would answer ENODEV before the holder was told why.
    setImmediate(() => this.break(why instanceof Error ? why.message : String(why)));
    throw done.type === 'failed' ? done.error : new LessorError('WINDOW_SEALS', String(why));
  }

  #refuse(code: ErrorCode, detail: string): void {
    this.#rejectGranted(new LessorError(code, detail));
  }

  #reasonOf(): { reason?: string } {
    const { reason } = this.#state;
    return reason === undefined ? {} : { reason: describeReason(reason) };
  }

  #announceRevoke(reason: EndReason, graceMs: number): void {
    this.publish({ type: 'revoking', reason: describeReason(reason), graceMs });
    this.resources.interrupts.signalRequest(this.#context.signaller);
  }

  #announceEnd(reason: EndReason): void {
    this.#graceTimer?.[Symbol.dispose]();
    this.publish({ type: 'ended', reason: describeReason(reason) });
    this.#resolveEnded(reason);
    this.#isOver = true;
    if (this.#connection?.keepsPeer) return;
    const { os, deadlines } = this.#context;
    this.#lingerTimer = os.clock.after(deadlines.fencedEndpointMs, () => this.closeConnection());
  }

  async #phase(phase: ReclaimPhase): Promise<void> {
    this.#graceTimer?.[Symbol.dispose]();
    const subject = {
      terms: this.terms,
      resources: this.resources,
      idle: this.#idle,
      fence: () => this.#connection?.fence(),
    };
    const { micros, outcome, timedOut, idle } = await runPhase(this.#context, subject, phase);
    if (phase === 'quiesce') this.#idle = idle;
    this.publish({ type: 'phase', phase, micros, outcome });
    this.dispatch(timedOut ? { type: 'phaseTimeout', phase } : { type: 'phaseDone', phase, idle });
  }

  /** The peer of a listening lease is gone: when the lease has ended, so is all of it. */
  peerGone(): void {
    if (this.#isOver) this.closeConnection();
  }

  /** Closes the endpoint, which after the end has only answered ENODEV. */
  closeConnection(): void {
    this.#lingerTimer?.[Symbol.dispose]();
    this.#connection?.close();
    if (this.#isGone) return;
    this.#isGone = true;
    this.#gone.emit();
  }

  /** Calls back once the endpoint of the ended lease is closed; at once when it is. */
  onGone(listener: () => void): void {
    if (this.#isGone) listener();
    else this.#gone.add(listener);
  }
}

/** Causes that somebody gave a reason for; the others say all there is to say. */
const explained: readonly EndReason['cause'][] = ['denied', 'broken', 'revoked'];

/** "revoked: operator: demo" or "holder died", as clients are told. */
export function describeReason({ cause, detail }: EndReason): string {
  return explained.includes(cause) && detail !== '' ? `${cause}: ${detail}` : cause;
}
