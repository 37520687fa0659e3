// A device with everything that a client sees of it: the parts, put together, and what happens to
// them when a client comes, resets or goes. One client at a time.
import type { Clock } from '../../base/clock.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { ConfigSpace } from '../../device/config-space.js';
import type { PciDevice } from '../../device/types.js';
import type { EventOs, EventSignaller } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import type { MemoryOs } from '../../os/memory-types.js';
import { VFIO_PCI_ROM_REGION_INDEX } from '../../uapi/vfio.js';
import type {
  ClientMemory,
  DmaMapRequest,
  DmaRange,
  EndpointDirtyPages,
  EndpointIrq,
  EndpointRegion,
  IrqChange,
  RegionIoFd,
} from '../endpoint.js';
import { DetachableWindows } from './detachable-windows.js';
import { DeviceLoop } from './device-loop.js';
import { DirtyLog } from './dirty-log.js';
import { createDirtyPages } from './dirty-pages.js';
import { DmaMaps } from './dma-maps.js';
import { Doorbells } from './doorbells.js';
import { FrameMemory } from './frame-memory.js';
import { Interrupts } from './interrupts.js';
import { MigrationPort } from './migration-port.js';
import { RefusedDma } from './refused-dma.js';
import { type DevicePlan, planDevice } from './region-plan.js';
import { RegisterAccess } from './register-access.js';
import { ServedBus } from './served-bus.js';
import { shareSignaller } from './shared-signaller.js';
import { sharedTurns } from './turns.js';

/** What a served device needs of the operating system. */
export interface ServedDeviceOs {
  readonly memory: MemoryOs;
  readonly events: EventOs;
  readonly clock: Clock;
}

export interface ServedDeviceOptions {
  readonly os: ServedDeviceOs;
  readonly name: string;
  /** Default: silent. */
  readonly log?: Logger;
  readonly dma: 'direct' | 'message';
  readonly arenaBytes: number;
  readonly idleSpinMs: number;
  /** Default false. */
  readonly detachableWindows?: boolean;
  readonly onBug: (error: unknown) => void;
}

export class ServedDevice implements Disposable {
  readonly device: PciDevice;
  readonly plan: DevicePlan;
  readonly config: ConfigSpace;
  readonly interrupts: Interrupts;
  readonly frames: FrameMemory;
  readonly maps: DmaMaps;
  readonly dirty = new DirtyLog();
  readonly loop: DeviceLoop;
  readonly access: RegisterAccess;
  readonly #signaller: EventSignaller;
  readonly migration: MigrationPort | undefined;
  readonly dirtyPages: EndpointDirtyPages;
  readonly windows: DetachableWindows | undefined;
  readonly #newDoorbells: () => Doorbells;
  /** Those of the client, from when it first asks for them. */
  #doorbells: Doorbells | undefined;
  #client: ClientMemory | undefined;
  #life = 0;

  /** Attaches the device. @throws LessorError `INVALID_ARGUMENT` for one that cannot be shown. */
  constructor(device: PciDevice, options: ServedDeviceOptions) {
    const { os, name, dma, arenaBytes } = options;
    const { memory, events, clock } = os;
    this.device = device;
    this.plan = planDevice(device.config, device.regions, memory.pageBytes);
    this.config = new ConfigSpace({ ...device.config, bars: barsOf(this.plan) });
    const owned: Disposable[] = [];
    const own = <T extends Disposable>(part: T): T => {
      owned.push(part);
      return part;
    };
    try {
      this.frames = own(new FrameMemory(memory, name, this.plan.regions));
      if (options.detachableWindows) {
        const { plan, frames } = this;
        const wake = () => this.loop.wake();
        this.windows = own(new DetachableWindows({ memory, plan, frames, wake }));
      }
      this.maps = own(new DmaMaps({ memory, clock, mode: dma, placedBytesMax: arenaBytes }));
      this.#signaller = own(shareSignaller(events));
      this.interrupts = new Interrupts(device.config, this.config, events, this.#signaller);
      this.loop = own(this.#createLoop(options));
      this.access = this.#createAccess();
      this.#newDoorbells = () => this.#createDoorbells(options);
      this.dirtyPages = createDirtyPages(this.dirty, this.maps);
      const { migration } = device;
      this.migration = migration === undefined ? undefined : new MigrationPort(this, migration);
      device.attach(this.#createBus(options));
    } catch (error) {
      for (const part of owned.reverse()) part[Symbol.dispose]();
      throw error;
    }
    this.loop.wake();
  }

  get regions(): readonly EndpointRegion[] {
    const { plan, windows } = this;
    return windows === undefined ? plan.shown : [...plan.shown, windows.shown];
  }

  get irqs(): readonly EndpointIrq[] {
    return this.interrupts.irqs;
  }

  opened(client: ClientMemory): void {
    this.#client = client;
  }

  regionFd(region: number): Fd | undefined {
    return this.frames.share(region);
  }

  /** @throws OsError when there are no descriptors left. */
  regionIoFds(region: number): readonly RegionIoFd[] {
    const planned = this.plan.regions.find(({ index }) => index === region);
    if (planned === undefined || planned.doorbells.length === 0) return [];
    this.#doorbells ??= this.#newDoorbells();
    return this.#doorbells.share(planned);
  }

  read(region: number, offsetBytes: number, lengthBytes: number): Uint8Array | Promise<Uint8Array> {
    const { windows, access } = this;
    if (region === windows?.region) return windows.read(offsetBytes, lengthBytes);
    if (this.#doorbells === undefined) return access.read(region, offsetBytes, lengthBytes);
    return this.inTurn(() => access.read(region, offsetBytes, lengthBytes));
  }

  write(region: number, offsetBytes: number, bytes: Uint8Array): void | Promise<void> {
    const { windows, access } = this;
    if (region === windows?.region) return windows.write(offsetBytes, bytes);
    if (this.#doorbells === undefined) return access.write(region, offsetBytes, bytes);
    return this.inTurn(() => access.write(region, offsetBytes, bytes));
  }

  /** Runs a request that calls the device, apart from its doorbells. */
  inTurn<T>(request: () => T | Promise<T>): T | Promise<T> {
    return this.#doorbells === undefined ? request() : this.#doorbells.inTurn(request);
  }

  /** What was rung until now has arrived when it settles. Only inside `inTurn`. */
  async answerDoorbells(): Promise<void> {
    await this.#doorbells?.answerAll();
  }

  dmaMap(request: DmaMapRequest): void {
    const { windows, maps } = this;
    if (windows === undefined) maps.map(request);
    else windows.map(request, () => maps.map(request));
  }

  async dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    await (range === 'all' ? this.maps.unmapAll() : this.maps.unmap(range));
    this.windows?.unmapped(range);
  }

  setIrqs(change: IrqChange): void {
    this.interrupts.change(change);
  }

  /** Device and registers as at first; maps, bindings and the client's masks stay. */
  reset(): void | Promise<void> {
    return this.inTurn(() => this.#reset());
  }

  #reset(): void {
    this.#doorbells?.forget();
    this.config.reset();
    this.interrupts.reset();
    this.device.reset();
    this.interrupts.configChanged();
    this.migration?.restart();
    this.loop.wake();
  }

  /**
   * The client is gone. The device keeps its state; what the client gave it is dropped: maps,
   * eventfds and doorbells, its registers, and the memory that it may still have mapped.
   */
  async closed(): Promise<void> {
    const isHigh = this.interrupts.pin.isHigh;
    this.#dropDoorbells();
    this.#client = undefined;
    this.#life += 1;
    this.config.reset();
    this.interrupts.unbindAll();
    this.interrupts.setIntx(isHigh);
    this.windows?.unmapped('all');
    this.frames.renew();
    this.dirty.stop();
    this.migration?.restart();
    await this.maps.unmapAll();
    this.loop.wake();
  }

  /** Ends everything. The device has no further call. */
  [Symbol.dispose](): void {
    this.#dropDoorbells();
    this.loop[Symbol.dispose]();
    this.interrupts.unbindAll();
    this.maps[Symbol.dispose]();
    this.windows?.[Symbol.dispose]();
    this.frames[Symbol.dispose]();
    this.#signaller[Symbol.dispose]();
  }

  #dropDoorbells(): void {
    this.#doorbells?.[Symbol.dispose]();
    this.#doorbells = undefined;
  }

  #createDoorbells({ os, onBug }: ServedDeviceOptions): Doorbells {
    const { device, frames, loop } = this;
    return new Doorbells({
      device,
      frames,
      events: os.events,
      wake: () => loop.wake(),
      onBug,
    });
  }

  #createLoop({ os, idleSpinMs, onBug }: ServedDeviceOptions): DeviceLoop {
    const { clock } = os;
    return new DeviceLoop({
      device: this.device,
      turns: sharedTurns(clock),
      clock,
      idleSpinMs,
      afterStep: () => this.maps.checkFaults(),
      onBug,
    });
  }

  #createAccess(): RegisterAccess {
    const { device, plan, config, frames, interrupts, loop } = this;
    const wake = () => loop.wake();
    const configWritten = () => {
      interrupts.configChanged();
      wake();
    };
    return new RegisterAccess({
      device,
      plan,
      config,
      frames,
      interrupts,
      configWritten,
      life: () => this.#life,
      wake,
    });
  }

  #createBus({ os, dma, name, log = silentLogger }: ServedDeviceOptions): ServedBus {
    const { config, maps, frames, interrupts, dirty, loop } = this;
    return new ServedBus({
      config,
      maps,
      frames,
      interrupts,
      dirty,
      refused: new RefusedDma(log, os.clock, name),
      clock: os.clock,
      isDirect: dma === 'direct',
      hasIntx: this.device.config.intx === true,
      wakeAfter: (delayMs) => loop.wakeAfter(delayMs),
      client: () => this.#client,
    });
  }
}

function barsOf(plan: DevicePlan): { index: number; lengthBytes: number }[] {
  return plan.regions
    .filter(({ index }) => index <= VFIO_PCI_ROM_REGION_INDEX)
    .map(({ index, shownBytes }) => ({ index, lengthBytes: shownBytes }));
}
