// A broker under test: a child process with short deadlines, the SDK's clients of both its sockets,
// every event it published, and a count from outside of what it holds.
import { type ChildProcess, fork } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from '../../src/base/errors.js';
import type { Deadlines, Switches } from '../../src/broker/options.js';
import type { AdminClient } from '../../src/client/admin.js';
import type { Client, Monitor } from '../../src/client/client.js';
import { connect, connectAdmin } from '../../src/client/index.js';
import { countHoldings, isClean, leaksBetween } from '../../src/demo/leaks.js';
import type { LeakCount } from '../../src/demo/report.js';
import { systemClock } from '../../src/os/clock.js';
import type { EventRecord } from '../../src/varlink/interface.js';

export interface BrokerOptions {
  readonly queues?: number;
  readonly isolation?: 'pasid' | 'device-bounds' | 'cooperative';
  /** With a hole: see weak-driver.ts. */
  readonly weakDriver?: boolean;
  readonly switches?: Partial<Switches>;
  readonly deadlines?: Partial<Deadlines>;
  /** The user that the broker runs as, where the test is root. */
  readonly uid?: number;
  /** Mode of the control socket. */
  readonly socketMode?: number;
  /** A folder of an earlier broker, to start another in its place. */
  readonly directory?: string;
}

export interface BrokerSettings {
  readonly queues: number;
  readonly isolation: string;
  readonly weakDriver: boolean;
  readonly switches: Partial<Switches>;
  readonly deadlines: Partial<Deadlines>;
  readonly socketPath: string;
  readonly adminPath: string;
  readonly socketMode: number;
}

/** Short enough that nobody waits, long enough for a busy machine. */
const shortDeadlines: Partial<Deadlines> = { fencedEndpointMs: 250 };
const script = fileURLToPath(new URL('./broker-child.js', import.meta.url));
const settleMs = 8000;

export const isRoot = process.getuid?.() === 0;
/** `nobody`, as an example of somebody else. */
export const otherUid = 65534;

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(delayMs, () => resolve());
  });
}

/** Waits until `probe` gives something, asking every few milliseconds. */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 5000,
): Promise<T> {
  const untilMs = systemClock.nowMs() + limitMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    assert(systemClock.nowMs() < untilMs, `never happened: ${what}`);
    await pause(5);
  }
}

export class BrokerFixture implements AsyncDisposable {
  readonly directory: string;
  readonly socketPath: string;
  readonly adminPath: string;
  readonly events: EventRecord[] = [];
  readonly exited: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcess;
  #control: Client | undefined;
  #admin: AdminClient | undefined;
  #monitor: Monitor | undefined;
  #before: LeakCount | undefined;
  #ended = false;

  private constructor(directory: string, settings: BrokerSettings, child: ChildProcess) {
    this.directory = directory;
    this.socketPath = settings.socketPath;
    this.adminPath = settings.adminPath;
    this.#child = child;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#ended = true;
        resolve(code ?? signal ?? 0);
      });
    });
  }

  /** Starts a broker and waits until it takes requests. */
  static async start(options: BrokerOptions = {}): Promise<BrokerFixture> {
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'lessor-test-'));
    chmodSync(directory, 0o755);
    if (options.uid !== undefined) chownSync(directory, options.uid, options.uid);
    const settings: BrokerSettings = {
      queues: options.queues ?? 8,
      isolation: options.isolation ?? 'pasid',
      weakDriver: options.weakDriver ?? false,
      switches: options.switches ?? {},
      deadlines: { ...shortDeadlines, ...options.deadlines },
      socketPath: join(directory, 'control.sock'),
      adminPath: join(directory, 'control.admin.sock'),
      socketMode: options.socketMode ?? 0o660,
    };
    const child = fork(script, {
      env: { ...process.env, LESSOR_TEST_BROKER: JSON.stringify(settings) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    const fixture = new BrokerFixture(directory, settings, child);
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      void fixture.exited.then((status) => reject(new TypeError(`no broker: ${status}`)));
    });
    await fixture.#open();
    return fixture;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get control(): Client {
    assert(this.#control !== undefined, 'the fixture is open');
    return this.#control;
  }

  get admin(): AdminClient {
    assert(this.#admin !== undefined, 'the fixture is open');
    return this.#admin;
  }

  async #open(): Promise<void> {
    this.#control = await connect({ socket: this.socketPath });
    this.#admin = await connectAdmin({ socket: this.adminPath });
    this.#monitor = this.#control.monitor((event) => this.events.push(event));
    this.#monitor.done.catch(() => undefined);
    // The subscription is made: requests of one broker are taken in their order.
    await this.#control.info();
  }

  connect(): Promise<Client> {
    return connect({ socket: this.socketPath });
  }

  /** An event of a lease that came or comes. */
  eventOf(lease: string, type: string): Promise<EventRecord> {
    return eventually(`${type} of ${lease}`, () =>
      this.events.find((event) => event.lease === lease && event.type === type),
    );
  }

  /** The reason with which a lease ended or ends. */
  async endOf(lease: string): Promise<string> {
    return (await this.eventOf(lease, 'ended')).reason ?? '';
  }

  /** Notes what the broker holds when nothing is leased, once that has settled. */
  async countBefore(): Promise<void> {
    let last = await countHoldings(this.adminPath);
    await eventually('a settled count', async () => {
      await pause(60);
      const now = await countHoldings(this.adminPath);
      const settled = isClean(leaksBetween(last, now));
      last = now;
      return settled;
    });
    this.#before = last;
  }

  /** What is held more than at `countBefore`, once it no longer shrinks. All zeros: no leak. */
  async leftOver(): Promise<LeakCount> {
    const before = this.#before;
    assert(before !== undefined, 'countBefore was called');
    const untilMs = systemClock.nowMs() + settleMs;
    for (;;) {
      const leaks = leaksBetween(before, await countHoldings(this.adminPath));
      // Fewer helpers than before are no leak.
      const none = Object.values(leaks).every((count) => count <= 0);
      if (none || systemClock.nowMs() > untilMs) return none ? nothingLeft : leaks;
      await pause(30);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the broker in order. @returns Its exit status. */
  async stop(): Promise<number | NodeJS.Signals> {
    this.close();
    this.kill('SIGTERM');
    return this.exited;
  }

  /** Closes the fixture's own connections. */
  close(): void {
    this.#monitor?.close();
    this.#control?.close();
    this.#admin?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    if (!this.#ended) {
      const late = systemClock.after(10_000, () => this.kill('SIGKILL'));
      this.kill('SIGTERM');
      await this.exited;
      late[Symbol.dispose]();
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const nothingLeft: LeakCount = {
  fds: 0,
  mappings: 0,
  iovaBytes: 0,
  pasids: 0,
  processes: 0,
};
