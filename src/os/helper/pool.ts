// Helper processes and the operations they do: which helper does what, and what becomes of one
// that does not answer. At least one waits for work, so that nobody waits for a start.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../base/clock.js';
import { errnoName } from '../../base/errno.js';
import { assert, LessorError, OsError, ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { closeAll, type Fd } from '../fd.js';
import type { HelperPool, HelperTerms, Received, SealState } from '../helper-types.js';
import { MSG_CTRUNC } from '../socket-constants.js';
import type { StreamSocket } from '../socket-types.js';
import { OsStreamSocket, type StreamCalls } from '../stream-socket.js';
import { HelperProcess, type HelperReply } from './helper-process.js';
import { Job } from './job.js';
import { type HelperRequest, receiveBytesMax } from './protocol.js';
import { WaitingLine } from './waiting-line.js';

// From dist/src/os/helper/.
const helperPathDefault = fileURLToPath(
  new URL('../../../../build/lessor-helper', import.meta.url),
);

/** Pause after a helper that ended before it was ready, doubled each time. */
const restartPauseMs = 50;
const restartPauseMsMax = 5000;
/** How long helpers that nobody needs are kept. */
const idleMs = 500;
/** How long dismissed helpers may take to end when the pool is disposed. */
const disposeGraceMs = 1000;

interface Slot {
  readonly process: HelperProcess;
  state: 'starting' | 'ready' | 'busy' | 'stuck' | 'leaving';
  job: Job | undefined;
}

export class OsHelperPool implements HelperPool {
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #slots = new Set<Slot>();
  readonly #line = new WaitingLine<Job>();
  #failedStarts = 0;
  #restartTimer: Disposable | undefined;
  #trimTimer: Disposable | undefined;
  #disposed = false;
  #onEmpty: (() => void) | undefined;

  /** @throws LessorError `NATIVE_MISSING` when the helper was not built. */
  constructor(calls: StreamCalls, clock: Clock, path: string = helperPathDefault) {
    if (!existsSync(path)) {
      throw new LessorError('NATIVE_MISSING', `the helper program ${path} does not exist`);
    }
    this.#calls = calls;
    this.#clock = clock;
    this.#path = path;
    this.#fill();
  }

  get stuckCount(): number {
    return this.#count('stuck');
  }

  /** Process ids of the helpers, stuck ones included. */
  get pids(): number[] {
    return [...this.#slots].flatMap((slot) => slot.process.pid ?? []);
  }

  async truncate(fd: Fd, lengthBytes: number, terms: HelperTerms): Promise<void> {
    assert(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0, `length ${lengthBytes}`);
    await this.#run({ operation: 'truncate', number: 0, value: lengthBytes }, fd, terms);
  }

  async seal(fd: Fd, seals: number, terms: HelperTerms): Promise<SealState> {
    const { header } = await this.#run({ operation: 'seal', number: seals, value: 0 }, fd, terms);
    return { seals: header.seals, lengthBytes: header.value };
  }

  async accept(listener: Fd, terms: HelperTerms): Promise<StreamSocket> {
    const request: HelperRequest = { operation: 'accept', number: 0, value: 0 };
    const [fd] = (await this.#run(request, listener, terms)).fds;
    assert(fd !== undefined, 'an accepted connection comes as a descriptor');
    return new OsStreamSocket(this.#calls, this.#clock, fd);
  }

  async receive(
    socket: Fd,
    bytesMax: number,
    fdsMax: number,
    terms: HelperTerms,
  ): Promise<Received> {
    const value = Math.min(bytesMax, receiveBytesMax);
    const request: HelperRequest = { operation: 'receive', number: fdsMax, value };
    const { header, bytes, fds } = await this.#run(request, socket, terms);
    const truncated = (header.messageFlags & MSG_CTRUNC) !== 0;
    if (truncated || header.fdCount > fdsMax) {
      closeAll(fds);
      const detail = truncated
        ? 'descriptors were lost'
        : `${header.fdCount} descriptors, at most ${fdsMax}`;
      throw new ProtocolError('socket.fds', 0, detail, { errno: 'EPROTO' });
    }
    return { bytes, fds, refusedCount: header.refusedCount };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#restartTimer?.[Symbol.dispose]();
    this.#trimTimer?.[Symbol.dispose]();
    const error = new OsError('ECANCELED', 'helper');
    for (const job of this.#line.takeAll()) {
      job.finish();
      job.reject(error);
    }
    for (const slot of this.#slots) {
      slot.job?.finish();
      slot.job?.reject(error);
      if (slot.state === 'busy') slot.process.kill();
      else slot.process.dismiss();
    }
    // Those stuck before are left behind: they may never end.
    if (this.#slots.size === this.stuckCount) return;
    for (const slot of this.#slots) slot.process.keepAlive(slot.state !== 'stuck');
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(disposeGraceMs, () => {
        for (const slot of this.#slots) slot.process.kill();
        for (const slot of this.#slots) slot.process.keepAlive(false);
        resolve();
      });
      this.#onEmpty = () => {
        timer[Symbol.dispose]();
        resolve();
      };
    });
  }

  async #run(request: HelperRequest, fd: Fd, terms: HelperTerms): Promise<HelperReply> {
    if (this.#disposed) throw new OsError('ECANCELED', 'helper');
    if (!this.#line.admits(terms.uid)) {
      const detail = `too many blocked operations of uid ${terms.uid}`;
      throw new LessorError('QUOTA_EXCEEDED', detail);
    }
    const job: Job = new Job(this.#clock, request, fd, terms, () => this.#onDeadline(job));
    this.#line.add(job);
    this.#dispatch();
    const reply = await job.result;
    if (reply.header.errno !== 0) {
      closeAll(reply.fds);
      throw new OsError(errnoName(reply.header.errno), request.operation);
    }
    return reply;
  }

  #count(state: Slot['state']): number {
    let count = 0;
    for (const slot of this.#slots) if (slot.state === state) count++;
    return count;
  }

  #dispatch(): void {
    for (const slot of this.#slots) {
      if (slot.state !== 'ready') continue;
      const job = this.#takeJob(slot);
      if (job === undefined) break;
    }
    this.#fill();
  }

  /** Gives a ready helper the next job that still can be done. */
  #takeJob(slot: Slot): Job | undefined {
    for (let job = this.#line.take(); job !== undefined; job = this.#line.take()) {
      try {
        if (!job.fd.isOpen) throw new OsError('EBADF', job.request.operation);
        const lent = job.fd.duplicate();
        slot.state = 'busy';
        slot.job = job;
        slot.process.request(job.request, lent);
        return job;
      } catch (error) {
        job.finish();
        job.reject(error as Error);
        this.#line.leave(job.uid, false);
      }
    }
    return undefined;
  }

  /** Starts helpers: for the jobs that could be done now, and one to spare. */
  #fill(): void {
    if (this.#disposed || this.#restartTimer !== undefined) return;
    const stuck = this.#count('stuck');
    for (;;) {
      const idle = this.#count('ready') + this.#count('starting');
      const wanted = Math.max(1, this.#line.runnableCount);
      if (idle >= wanted || this.#slots.size - stuck >= limits.helpersMax) return;
      if (!this.#start()) return;
    }
  }

  #start(): boolean {
    const slot: { -readonly [K in keyof Slot]?: Slot[K] } = { state: 'starting', job: undefined };
    try {
      slot.process = new HelperProcess(this.#calls, this.#clock, this.#path, {
        ready: () => this.#onReady(slot as Slot),
        reply: (reply) => slot.job?.resolve(reply),
        exited: () => this.#onExited(slot as Slot),
      });
    } catch {
      // No descriptor or no process left; what waits has its deadline.
      this.#restartLater();
      return false;
    }
    this.#slots.add(slot as Slot);
    return true;
  }

  #restartLater(): void {
    if (this.#disposed) return;
    const pauseMs = Math.min(restartPauseMs * 2 ** this.#failedStarts++, restartPauseMsMax);
    this.#restartTimer?.[Symbol.dispose]();
    this.#restartTimer = this.#clock.after(pauseMs, () => {
      this.#restartTimer = undefined;
      this.#fill();
    });
  }

  #onReady(slot: Slot): void {
    this.#failedStarts = 0;
    const job = slot.job;
    slot.job = undefined;
    slot.state = 'ready';
    if (job !== undefined) {
      job.finish();
      this.#line.leave(job.uid, false);
    }
    this.#dispatch();
    this.#trimLater();
  }

  /** Lets go of helpers that a burst has left, until one is to spare. */
  #trimLater(): void {
    if (this.#disposed || this.#trimTimer !== undefined || this.#count('ready') <= 1) return;
    this.#trimTimer = this.#clock.after(idleMs, () => {
      this.#trimTimer = undefined;
      let surplus = this.#count('ready') - 1;
      for (const slot of this.#slots) {
        if (surplus <= 0) break;
        if (slot.state !== 'ready') continue;
        slot.state = 'leaving';
        slot.process.dismiss();
        surplus -= 1;
      }
    });
  }

  #onDeadline(job: Job): void {
    if (this.#line.remove(job)) return;
    for (const slot of this.#slots) {
      if (slot.job !== job) continue;
      slot.state = 'stuck';
      this.#line.markStuck(job.uid);
      slot.process.kill();
    }
    this.#dispatch();
  }

  #onExited(slot: Slot): void {
    this.#slots.delete(slot);
    if (slot.job !== undefined) this.#onLost(slot.job, slot.state === 'stuck');
    if (this.#slots.size === this.stuckCount) this.#onEmpty?.();
    if (slot.state === 'starting') this.#restartLater();
    else if (!this.#disposed) this.#dispatch();
  }

  /** The helper of a job ended: killed after the deadline, or by someone else. */
  #onLost(job: Job, wasStuck: boolean): void {
    this.#line.leave(job.uid, wasStuck);
    if (!wasStuck && !job.isSettled && job.isRepeatable && !job.wasRetried) {
      job.wasRetried = true;
      this.#line.add(job);
      return;
    }
    job.finish();
    job.reject(new OsError('EIO', job.request.operation, 'its helper ended'));
  }
}
