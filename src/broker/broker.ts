// Wires one function, one driver and the two services together. Decisions are elsewhere.
import { LessorError } from '../base/errors.js';
import type { Isolation } from '../base/labels.js';
import { Listeners } from '../base/listeners.js';
import type { RunningDriver } from '../driver/types.js';
import { validateSlices } from '../driver/validate.js';
import type { ListenerSocket } from '../os/socket-types.js';
import { adminDescription, controlDescription, type EventRecord } from '../varlink/interface.js';
import { VarlinkService } from '../varlink/service.js';
import { AdminMethods } from './admin-methods.js';
import type { BrokerContext } from './context.js';
import { ControlMethods } from './control-methods.js';
import { BrokerDriverHost } from './driver-host.js';
import { keepEpoch, nextEpoch } from './epoch.js';
import { EventHub } from './event-hub.js';
import { FaultDesk } from './fault-desk.js';
import { FunctionLife } from './function-life.js';
import { Granter } from './granter.js';
import { inTime } from './in-time.js';
import { Inventory } from './inventory.js';
import { shownIsolation } from './isolation.js';
import { layoutOf } from './layout.js';
import type { BrokerLease } from './lease.js';
import { LeaseBook } from './lease-book.js';
import { LeaseDesk } from './lease-desk.js';
import { type BrokerOptions, defaultDeadlines } from './options.js';
import { functionRecord, infoReply } from './records.js';
import { claimSocketPath } from './socket-path.js';
import { packageVersion } from './version.js';
import { WindowBook } from './window-book.js';

const adminSocketMode = 0o600;
const controlSocketMode = 0o660;
/** How long the end of a broker may take before it leaves without asking. */
const closeMs = 10_000;

export interface Broker extends AsyncDisposable {
  readonly isolation: Isolation;
  readonly socketPath: string;
  readonly adminPath: string;
  /** Resolves when the broker has ended, however that came about. */
  readonly closed: Promise<void>;
  /** Every event from now on. */
  onEvent(listener: (event: EventRecord) => void): Disposable;
  /** Called after each reclaim. */
  onEnded(listener: () => void): Disposable;
  /** Takes every lease back, stops the driver, gives the function up. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a broker: it owns `options.fn` from here on and leases its slices over two sockets.
 *
 * @throws LessorError `BROKER_RUNNING`, `DRIVER_INVALID`, `DRIVER_FAILED`; OsError of bind.
 */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  let broker: WiredBroker | undefined;
  try {
    claimSocketPath(options.os, options.socketPath);
    claimSocketPath(options.os, options.adminPath);
    broker = new WiredBroker(options);
    await broker.start();
    return broker;
  } catch (error) {
    // Whatever was made so far is given up, the function in any case.
    await (broker === undefined ? options.fn[Symbol.asyncDispose]() : broker.close());
    throw error;
  }
}

class WiredBroker implements Broker {
  readonly #options: BrokerOptions;
  readonly #context: BrokerContext;
  readonly #book = new LeaseBook();
  readonly #faults: FaultDesk;
  readonly #ended = new Listeners<void>();
  readonly #listeners: ListenerSocket[] = [];
  readonly #services: VarlinkService[] = [];
  readonly closed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #epoch: number;
  #driver: RunningDriver | undefined;
  #desk: LeaseDesk | undefined;
  #life: FunctionLife | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#epoch = nextEpoch(`${options.socketPath}.epoch`);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { os, fn, log, switches } = options;
    const epoch = (): number => this.#epoch;
    this.#context = {
      os,
      fn,
      log,
      hub: new EventHub(os.clock, log),
      windows: new WindowBook(),
      switches: {
        allowCooperative: switches?.allowCooperative ?? false,
        allowUnsealedMemory: switches?.allowUnsealedMemory ?? false,
        forceDmaBufWindows: switches?.forceDmaBufWindows ?? false,
        allowProcess: switches?.allowProcess ?? false,
        faultInjection: switches?.faultInjection ?? false,
      },
      deadlines: { ...defaultDeadlines, ...options.deadlines },
      signaller: os.events.createSignaller(),
      get epoch() {
        return epoch();
      },
      functionStuck: (reason) => this.#resetStuck(reason),
      bug: (error) => this.#bug(error),
    };
    this.#faults = new FaultDesk({
      clock: os.clock,
      log,
      leases: () => this.#book.live,
      publish: (details) => this.#context.hub.publish(details),
    });
  }

  get isolation(): Isolation {
    return shownIsolation(this.#options.fn.info, this.#running.isolation);
  }

  get socketPath(): string {
    return this.#options.socketPath;
  }

  get adminPath(): string {
    return this.#options.adminPath;
  }

  get #running(): RunningDriver {
    if (this.#driver === undefined) throw new LessorError('DRIVER_FAILED', 'no driver runs');
    return this.#driver;
  }

  onEvent(listener: (event: EventRecord) => void): Disposable {
    return this.#context.hub.subscribe(listener);
  }

  onEnded(listener: () => void): Disposable {
    return this.#ended.add(listener);
  }

  async start(): Promise<void> {
    const { fn, driver, driverOptions } = this.#options;
    if (!driver.match(fn.info)) {
      throw new LessorError('DRIVER_INVALID', `driver ${driver.name} does not fit ${fn.info.name}`);
    }
    const inventoryOf = (slice: { name: string }): BrokerLease | undefined =>
      this.#book.live.find((lease) => lease.terms.slice.name === slice.name);
    const host = new BrokerDriverHost(this.#context, this.#faults, inventoryOf);
    this.#driver = await driver.start(fn, host, driver.options.parse(driverOptions ?? {}));
    validateSlices(
      fn.info,
      this.#driver.slices,
      this.#driver.reserved,
      this.#options.os.memory.pageBytes,
    );
    for (const slice of this.#driver.slices) layoutOf(slice.windows, slice.vectors.length);
    this.#wire(this.#driver);
    fn.onEvent((event) => {
      if (event.type === 'fault') this.#faults.fromFunction(event.fault);
      if (event.type === 'gone') this.#life?.lose(event.detail);
      if (event.type === 'away') this.#life?.leave(event.detail);
      if (event.type === 'back') this.#comeBack(event.detail);
      if (event.type === 'error') this.#context.log.error('function', { detail: event.detail });
    });
  }

  #wire(driver: RunningDriver): void {
    const context = this.#context;
    const book = this.#book;
    const inventory = new Inventory(driver.slices);
    const granter = new Granter(context, inventory, book, driver);
    const desk = new LeaseDesk(context, this.#options.helpers, granter, book);
    const life = new FunctionLife({
      context,
      driver,
      book,
      granter,
      onEpoch: () => {
        this.#epoch += 1;
        keepEpoch(`${this.socketPath}.epoch`, this.#epoch);
      },
    });
    this.#desk = desk;
    this.#life = life;
    context.hub.subscribe((event) => {
      if (event.type === 'ended') this.#ended.emit();
    });
    const control = new ControlMethods({
      desk,
      info: () =>
        infoReply(
          context,
          inventory,
          packageVersion(),
          functionRecord(context, this.#options.driver.name, this.isolation),
        ),
      subscribe: (listener) => context.hub.subscribe(listener),
    });
    const admin = new AdminMethods({
      context,
      desk,
      book,
      granter,
      inventory,
      life,
      driver,
      shutdown: () => this.#background(this.close()),
      helperPids: () => this.#options.helpers.pids,
    });
    const mode = this.#options.socketMode ?? controlSocketMode;
    this.#listen(
      this.socketPath,
      mode,
      controlDescription,
      methodsOf(control, { Acquire: 1 }, ['Acquire']),
    );
    this.#listen(this.adminPath, adminSocketMode, adminDescription, methodsOf(admin, {}));
  }

  #listen(
    path: string,
    mode: number,
    description: string,
    methods: ReturnType<typeof methodsOf>,
  ): void {
    const { os, helpers, log } = this.#options;
    const service = new VarlinkService({
      info: { vendor: 'lessor', product: 'lessor', version: packageVersion(), url: '' },
      log,
      helpers,
      onBug: (error) => this.#bug(error),
    });
    service.add(description, methods);
    this.#services.push(service);
    this.#listeners.push(os.sockets.listen(path, mode, (socket) => service.accept(socket)));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { os, fn, log } = this.#options;
    for (const listener of this.#listeners.splice(0)) listener[Symbol.dispose]();
    const stopped = await inTime(os.clock, closeMs, async () => {
      await this.#desk?.stop();
      await this.#driver?.stop();
    });
    if (stopped.type !== 'done')
      log.error('the broker did not end in order', { how: stopped.type });
    for (const service of this.#services.splice(0)) service[Symbol.dispose]();
    try {
      await fn[Symbol.asyncDispose]();
    } finally {
      this.#faults[Symbol.dispose]();
      this.#context.signaller[Symbol.dispose]();
      this.#resolveClosed();
    }
  }

  /** A phase of some reclaim was not answered: only a reset of the function helps. */
  #resetStuck(reason: string): void {
    const life = this.#life;
    if (life === undefined || life.gone !== undefined || this.#closing !== undefined) return;
    // Losing the function is told by its own event; there is nobody else to tell here.
    life.reset(reason).catch((error: unknown) => {
      this.#context.log.error('function reset failed', { reason: String(error) });
    });
  }

  #comeBack(detail: string): void {
    if (this.#closing !== undefined) return;
    this.#life?.comeBack(detail).catch((error: unknown) => {
      // Whether it left again or is lost, its own event tells.
      this.#context.log.error('the function did not come back', { reason: String(error) });
    });
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => this.#bug(error));
  }

  #bug(error: unknown): void {
    if (this.#options.onBug === undefined) throw error;
    this.#options.onBug(error);
  }
}

/** The handlers of a service, by method name. */
function methodsOf(
  methods: ControlMethods | AdminMethods,
  fdsMax: Readonly<Record<string, number>>,
  upgrades: readonly string[] = [],
) {
  const table: Record<string, { handle: never; fdsMax: number; upgrades: boolean }> = {};
  for (const [name, handle] of Object.entries(methods)) {
    table[name] = {
      handle: handle as never,
      fdsMax: fdsMax[name] ?? 0,
      upgrades: upgrades.includes(name),
    };
  }
  return table;
}
