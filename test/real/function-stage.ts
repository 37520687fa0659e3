// A function with a broker and clients, all of them processes, as cases use them.
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AdminClient } from '../../src/client/admin.js';
import type { Client, Monitor } from '../../src/client/client.js';
import { connect, connectAdmin } from '../../src/client/index.js';
import { adminPathOf } from '../../src/client/run-directory.js';
import type { EventRecord } from '../../src/varlink/interface.js';
import { type Actor, startActor } from '../support/client-process.js';
import { Bench, type Running } from '../support/lessor.js';
import type { KernelFlavour } from '../vm/kernel-recipe.js';
import type { RealCalls, Taken, Terms } from './client/calls.js';
import type { GroupStage } from './group.js';
import { DeviceLog, KernelLog } from './logs.js';
import type { Prepared, Underside } from './underside.js';

const clientProgram = fileURLToPath(new URL('./client/child.js', import.meta.url));
const patienceMs = 60_000;
/** Of the broker with its device: emulated CPUs that others use too. */
const patience = '10';

export type RealClient = Actor<RealCalls>;

/** Asks again until there is an answer. @throws Error naming what did not come about. */
export async function soon<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > untilMs) throw new Error(`did not come about: ${what}`);
    await sleep(10);
  }
}

interface Standing {
  readonly process: Running;
  readonly control: Client;
  readonly admin: AdminClient;
  readonly monitor: Monitor;
}

export class FunctionStage implements GroupStage {
  readonly underside: Underside;
  readonly flavour: KernelFlavour;
  readonly bench: Bench;
  readonly source: string;
  readonly kernelLog: KernelLog;
  readonly deviceLog: DeviceLog;
  /** Of the broker that stands. */
  events: EventRecord[] = [];
  #standing: Standing | undefined;
  #brokerCount = 0;
  #clients: RealClient[] = [];
  readonly #labels = new Set<string>();

  static async open(underside: Underside, flavour: KernelFlavour): Promise<FunctionStage> {
    const bench = new Bench();
    return new FunctionStage(underside, flavour, bench, await underside.prepare(bench));
  }

  private constructor(
    underside: Underside,
    flavour: KernelFlavour,
    bench: Bench,
    { source, said }: Prepared,
  ) {
    this.underside = underside;
    this.flavour = flavour;
    this.bench = bench;
    this.source = source;
    this.kernelLog = new KernelLog();
    this.deviceLog = new DeviceLog(said);
  }

  get #there(): Standing {
    if (this.#standing === undefined) throw new TypeError('no broker stands');
    return this.#standing;
  }

  get control(): Client {
    return this.#there.control;
  }

  get admin(): AdminClient {
    return this.#there.admin;
  }

  /** The broker that stands, or a new one. */
  async broker(): Promise<Running> {
    this.#standing ??= await this.#start();
    return this.#standing.process;
  }

  async #start(): Promise<Standing> {
    this.#brokerCount += 1;
    const socket = `${this.bench.directory}/${this.#brokerCount}.sock`;
    const words = ['--socket', socket, 'serve', '--json', '--function', this.source];
    const program = [...words, '--driver', this.underside.device, '--fault-injection'];
    const process = this.bench.start([...program, '--patience', patience, '--log', 'warn']);
    await process.saying(/\n/);
    this.events = [];
    const control = await connect({ socket });
    const admin = await connectAdmin({ socket: adminPathOf(socket) });
    const monitor = control.monitor((event) => this.events.push(event));
    monitor.done.catch(() => undefined);
    return { process, control, admin, monitor };
  }

  /** Nobody relies on the broker any more: the case has ended it, or its function is gone. */
  forgetBroker(): void {
    const standing = this.#standing;
    this.#standing = undefined;
    standing?.monitor.close();
    standing?.control.close();
    standing?.admin.close();
  }

  /** A client process that holds nothing yet. Starts a broker where none stands. */
  async client(): Promise<RealClient> {
    await this.broker();
    const { socketPath } = this.control;
    process.env.LESSOR_REAL_DEVICE = this.underside.device;
    const client = startActor<RealCalls>(clientProgram, socketPath);
    this.#clients.push(client);
    return client;
  }

  /** A client process with a lease, whose labels are as they must be. */
  async tenant(terms: Terms = {}): Promise<RealClient & { readonly taken: Taken }> {
    const client = await this.client();
    const taken = await client.acquire(terms);
    const { isolation, revocation } = taken;
    this.#labels.add(`${isolation}/${revocation}`);
    const wanted = [this.underside.isolation, terms.revocation ?? this.revocation].join('/');
    if (`${isolation}/${revocation}` !== wanted) {
      throw new Error(`the lease is ${isolation}/${revocation}, not ${wanted}`);
    }
    Object.assign(client, { taken });
    return client as RealClient & { readonly taken: Taken };
  }

  /** How a lease's registers are taken back here. */
  get revocation(): string {
    return this.underside.revocation[this.flavour];
  }

  /** An event of a lease, which came or comes. */
  event(
    lease: string,
    type: string,
    fits: (event: EventRecord) => boolean = () => true,
  ): Promise<EventRecord> {
    return soon(`event ${type} of lease ${lease}`, () =>
      this.events.find((event) => event.lease === lease && event.type === type && fits(event)),
    );
  }

  takeLabels(): readonly string[] {
    const labels = [...this.#labels];
    this.#labels.clear();
    return labels;
  }

  takeRemark(): string {
    return '';
  }

  begin(): void {
    this.kernelLog.takeFaults();
    this.deviceLog.takeRefusals();
  }

  /** Clients are gone; the broker that stands has everything back, and nothing in quarantine. */
  async settle(): Promise<void> {
    const clients = this.#clients;
    this.#clients = [];
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    const faults = this.kernelLog.takeFaults();
    if (this.#standing !== undefined) await this.#settleBroker(this.#standing);
    if (faults.length > 0) throw new Error(`the IOMMU saw: ${faults.join('\n')}`);
  }

  async #settleBroker({ control, process }: Standing): Promise<void> {
    try {
      await soon('every slice is free', async () => {
        const [leases, { slices, quarantined }] = [await control.leases(), await control.info()];
        if (quarantined.length > 0) {
          throw new Error(`in quarantine: ${quarantined.join(', ')}; ${process.stderr}`);
        }
        const isFree = leases.length === 0 && slices.every(({ state }) => state === 'free');
        return isFree ? true : undefined;
      });
    } catch (error) {
      this.forgetBroker();
      await process.stop('SIGKILL');
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.forgetBroker();
    await this.bench.clear();
  }
}
