// The mqdma driver: one slice per queue, isolated by PASID, by the device's bounds, or not at all.
import { LessorError } from '../../base/errors.js';
import { control, mqdma } from '../../device/mqdma/datasheet.js';
import type { PciFunction, RegionRange, Registers } from '../../function/types.js';
import { type DriverHost, defineDriver, type RunningDriver, type Slice } from '../types.js';
import { FaultWatch } from './fault-watch.js';
import { injectFault } from './injection.js';
import { type MqdmaDriverOptions, type MqdmaIsolation, mqdmaDriverOptions } from './options.js';
import { type Header, QueueRegisters, readHeader } from './queue-registers.js';
import { QueueSlice } from './queue-slice.js';
import { testBounds } from './self-test.js';

/** How long queues may take to come to rest when the function is brought up. */
const bringUpDeadlineMs = 5000;

class RunningMqdma implements RunningDriver {
  readonly slices: readonly QueueSlice[];
  readonly reserved: readonly RegionRange[];
  readonly isolation: MqdmaIsolation;
  readonly #fn: PciFunction;
  readonly #host: DriverHost;
  readonly #header: Header;
  readonly #registers: Registers;
  readonly #faults: FaultWatch;
  #errorVector: AsyncDisposable | undefined;

  constructor(fn: PciFunction, host: DriverHost, header: Header, isolation: MqdmaIsolation) {
    this.#fn = fn;
    this.#host = host;
    this.#header = header;
    this.#registers = fn.registers(mqdma.controlRegion);
    this.isolation = isolation;
    const { controlRegion } = mqdma;
    this.reserved = fn.info.regions
      .filter(({ index }) => index === controlRegion)
      .map(({ lengthBytes }) => ({ region: controlRegion, offsetBytes: 0, lengthBytes }));
    const region = fn.info.regions.find(({ index }) => index === mqdma.queueRegion);
    this.slices = Array.from({ length: header.queueCount }, (_, index) => {
      const registers = new QueueRegisters(this.#registers, index);
      return new QueueSlice(index, {
        registers,
        isolation,
        pageStrideBytes: header.pageStrideBytes,
        mappable: region?.mappable === true,
        clock: host.clock,
        kick: () => this.#kick(registers),
        collectFaults: () => this.#faults.collect(),
      });
    });
    this.#faults = new FaultWatch({
      registers: this.#registers,
      slices: this.slices,
      report: (slice, fault) => host.fault(slice, fault),
      log: host.log,
    });
  }

  /**
   * A VM monitor may show memory in place of the pages of BAR2: whoever writes a doorbell there, by
   * message too, tells nobody. The registers of BAR0 always reach the device.
   */
  #kick(registers: QueueRegisters): void {
    this.#fn.kick();
    if (this.#fn.info.underside !== 'vfio') return;
    // A function that is gone says so itself, and has nothing to look at.
    registers.write('KICK', 1).catch(() => undefined);
  }

  async start(): Promise<void> {
    await this.restart();
    const { errorVector } = this.#header;
    this.#errorVector = await this.#host.onInterrupt(errorVector, () => this.#faults.notice());
  }

  async restart(): Promise<void> {
    const { clock } = this.#host;
    const deadline = new AbortController();
    const timer = clock.after(bringUpDeadlineMs, () => deadline.abort());
    try {
      for (const slice of this.slices) {
        if (await slice.bringUp(deadline.signal)) continue;
        throw new LessorError('DRIVER_FAILED', `${slice.name} does not come to rest`);
      }
    } finally {
      timer[Symbol.dispose]();
    }
    if (this.isolation !== 'device-bounds') return;
    const first = this.slices[0]!;
    const queue = { registers: first.registers, kick: () => first.kick() };
    await testBounds(this.#fn, this.#host, queue, this.#header.pageStrideBytes);
    // The fault that was provoked is nobody's.
    await this.#registers.write32(control.FAULT_PENDING, 1);
  }

  inject(slice: Slice, fault: string, value: number): Promise<void> {
    const own = this.slices.find((candidate) => candidate === slice);
    if (own === undefined) throw new LessorError('UNKNOWN_SLICE', `${slice.name} is not ours`);
    return injectFault(this.#registers, this.#header.hasInjection, own, fault, value);
  }

  async stop(): Promise<void> {
    await this.#errorVector?.[Symbol.asyncDispose]();
    this.#errorVector = undefined;
    for (const slice of this.slices) {
      if (slice.isGranted) await slice.registers.write('ENABLE', 0);
    }
  }
}

/** The built-in driver `mqdma`. */
export const mqdmaDriver = defineDriver<MqdmaDriverOptions>({
  name: 'mqdma',
  options: mqdmaDriverOptions,
  match: (info) => info.vendorId === mqdma.vendorId && info.deviceId === mqdma.deviceId,
  async start(fn, host, options) {
    const header = await readHeader(fn.registers(mqdma.controlRegion), fn.info);
    const isolation = options.isolation ?? (header.hasPasid ? 'pasid' : 'device-bounds');
    if (isolation === 'pasid' && !header.hasPasid) {
      throw new LessorError('ISOLATION_UNAVAILABLE', `${fn.info.name} has no PASIDs`);
    }
    const running = new RunningMqdma(fn, host, header, isolation);
    await running.start();
    return running;
  },
});
