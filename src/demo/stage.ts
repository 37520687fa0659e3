// One broker with its clients: what every act of the story works with.

import type { AdminClient } from '../client/admin.js';
import type { Client, Monitor } from '../client/client.js';
import { connect, connectAdmin } from '../client/index.js';
import { adminPathOf } from '../client/run-directory.js';
import { systemClock } from '../os/clock.js';
import type { EventRecord, FunctionRecord } from '../varlink/interface.js';
import { BrokerProcess, type DemoMode } from './broker-process.js';
import { ClientProcess } from './calls.js';
import type { AcquiredAnswer, DemoCalls } from './client-calls.js';
import { holdingsOf, isClean, leaksBetween, leastOf, mostOf } from './leaks.js';
import type { DemoReport, LeakCount } from './report.js';
import type { Story } from './story.js';
import type { Venue } from './venue.js';

export type DemoActor = ClientProcess<DemoCalls> & { held?: AcquiredAnswer };

const memoryBytes = 64 * 1024 * 1024;
/** Ended leases may answer ENODEV for 5 s; only then is everything of theirs gone. */
const lingerMs = 6000;
const settleMs = 60;
/** After as many counts without a lower one, nothing goes any more. */
const settledCounts = 14;

/** What all brokers of one story share. */
export interface StageOptions {
  readonly directory: string;
  readonly story: Story;
  readonly report: DemoReport;
  readonly venue: Venue;
  readonly leakDescriptor: boolean;
}

export class Stage {
  readonly mode: DemoMode;
  readonly broker: BrokerProcess;
  readonly story: Story;
  readonly report: DemoReport;
  readonly control: Client;
  readonly admin: AdminClient;
  readonly venue: Venue;
  /** Its figures are the ones that are reported. */
  readonly isFirst: boolean;
  readonly underside: string;
  readonly pasidBits: number;
  readonly events: EventRecord[] = [];
  readonly #monitor: Monitor;
  readonly #actors: DemoActor[] = [];
  #before: LeakCount | undefined;

  private constructor(
    broker: BrokerProcess,
    { story, report, venue }: StageOptions,
    control: Client,
    admin: AdminClient,
    { underside, pasidBits }: FunctionRecord,
  ) {
    this.mode = broker.mode;
    this.broker = broker;
    this.venue = venue;
    this.isFirst = report.modes.length === 0;
    this.underside = underside;
    this.pasidBits = pasidBits;
    this.story = story;
    this.report = report;
    this.control = control;
    this.admin = admin;
    this.#monitor = control.monitor((event) => this.events.push(event));
    this.#monitor.done.catch(() => undefined);
  }

  static async open(mode: DemoMode, options: StageOptions): Promise<Stage> {
    const { directory, leakDescriptor, venue } = options;
    const broker = await BrokerProcess.start(mode, directory, {
      leakDescriptor,
      source: venue.source,
    });
    const control = await connect({ socket: broker.socketPath });
    const admin = await connectAdmin({ socket: adminPathOf(broker.socketPath) });
    const { function: fn } = await control.info();
    return new Stage(broker, options, control, admin, fn);
  }

  /** Notes a check; a failed one fails the demo. */
  check(holds: boolean, what: string): boolean {
    if (!holds) this.report.failures.push(`${this.mode}: ${what}`);
    return holds;
  }

  /** Notes what cannot be shown here, once. */
  impossible(step: string, reason: string): void {
    const { impossible } = this.report;
    if (impossible.some((known) => known.step === step)) return;
    impossible.push({ step, reason });
    this.story.line('', `not here: ${step}`);
    this.story.detail(reason);
  }

  /** Starts a client process that holds a lease. */
  async enter(name: string, slice?: string): Promise<DemoActor> {
    const actor: DemoActor = new ClientProcess<DemoCalls>(name, {
      ...process.env,
      LESSOR_DEMO_SOCKET: this.broker.socketPath,
    });
    this.#actors.push(actor);
    this.report.clients += 1;
    actor.held = await actor.call('acquire', {
      memoryBytes,
      ...(slice === undefined ? {} : { slice }),
    });
    const label = `${actor.held.isolation}/${actor.held.revocation}`;
    if (!this.report.labels.includes(label)) this.report.labels.push(label);
    return actor;
  }

  /** Waits for an event of a lease that came or comes. */
  async eventOf(lease: string, type: string, limitMs = 20_000): Promise<EventRecord | undefined> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      const found = this.events.find((event) => event.lease === lease && event.type === type);
      if (found !== undefined || performance.now() > untilMs) return found;
      await pause(5);
    }
  }

  /** One client comes and goes, so that everything made once is there; then it is counted. */
  async countBefore(): Promise<void> {
    const first = await this.enter('-');
    await first.call('work', { operations: 32, seed: 1 });
    await this.#leave(first);
    this.report.clients -= 1;
    let least = await this.#count();
    for (let same = 0; same < settledCounts; same += 1) {
      await pause(settleMs);
      const lower = leastOf(least, await this.#count());
      if (!isClean(leaksBetween(least, lower))) same = 0;
      least = lower;
    }
    this.#before = least;
  }

  /** Everybody leaves; what is left over is counted, until nothing is or nothing goes any more. */
  async countAfter(): Promise<LeakCount> {
    await Promise.all(this.#actors.map((actor) => this.#leave(actor)));
    const before = this.#before ?? (await this.#count());
    // Fewer than before is no leak, and hides none.
    let least = await this.#count();
    let changedMs = performance.now();
    for (;;) {
      const leaks = leaksBetween(before, mostOf(before, least));
      if (isClean(leaks) || performance.now() - changedMs > lingerMs) {
        this.check(isClean(leaks), `left over: ${JSON.stringify(leaks)}`);
        return leaks;
      }
      await pause(settleMs);
      const lower = leastOf(least, await this.#count());
      if (!isClean(leaksBetween(least, lower))) changedMs = performance.now();
      least = lower;
    }
  }

  #count(): Promise<LeakCount> {
    // One connection for all: those that close late would count.
    return holdingsOf(this.admin);
  }

  async #leave(actor: DemoActor): Promise<void> {
    await Promise.race([actor.call('close').catch(() => undefined), actor.exited]);
    actor.kill('SIGTERM');
    await actor.exited;
  }

  async close(): Promise<void> {
    for (const actor of this.#actors) actor.kill('SIGKILL');
    this.#monitor.close();
    this.control.close();
    this.admin.close();
    this.check((await this.broker.stop()) === 0, 'the broker ended with a failure');
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(ms, resolve);
  });
}
