// mqdma, the embedded function: a multi-queue DMA engine. Register decoding and the step machine's
// outside; docs/reference/mqdma-datasheet.md describes what it does.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { powerOfTwoAtLeast, roundUp } from '../../base/units.js';
import type {
  Bus,
  DeviceConfig,
  DeviceMigration,
  DeviceRegion,
  DoorbellSpec,
  Frame,
  FrameSpec,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../types.js';
import { ControlRegisters } from './control-registers.js';
import { mqdma, queuePage, queuePageOffset, statusPageWord } from './datasheet.js';
import { DirectEngine } from './direct-engine.js';
import { MessageEngine } from './message-engine.js';
import { QueueState } from './queue-state.js';
import { loadMqdma, saveMqdma } from './saved-mqdma.js';
import { Scheduler } from './scheduler.js';
import { SharedState } from './shared-state.js';

export interface MqdmaOptions {
  /** 1..1024; default 16. */
  readonly queueCount?: number;
  /** Bytes of a page of BAR2, a power of two, 4096..65536: that of the host. Default 4096. */
  readonly pageBytes?: number;
  /** 0..20; 0: no PASID capability. Default 20. */
  readonly pasidBits?: number;
  /** The injection registers work. Default false. */
  readonly faultInjection?: boolean;
}

const ones = 0xffffffff;
const msixEntryBytes = 16;

/** Everything that exists from `attach` on. */
interface Attached {
  readonly shared: SharedState;
  readonly scheduler: Scheduler;
  readonly engine: DirectEngine | MessageEngine;
  readonly control: ControlRegisters;
}

export class MqdmaDevice implements PciDevice {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
  readonly migration = {
    stop: () => this.#stop(),
    start: () => this.#start(),
    save: () => saveMqdma(this.#attached!.shared, this.#attached!.control),
    load: (state: Uint8Array) => this.#load(state),
  } satisfies DeviceMigration;
  readonly #queueCount: number;
  readonly #pageBytes: number;
  readonly #options: { readonly pasidBits: number; readonly faultInjection: boolean };
  readonly #msixTable: Uint32Array;
  #attached: Attached | undefined;
  #asleep = false;
  #isStopped = false;

  /** @throws LessorError `INVALID_ARGUMENT` */
  constructor(options: MqdmaOptions = {}) {
    const { queueCount = mqdma.queueCountDefault, pageBytes = 4096 } = options;
    const { pasidBits = mqdma.pasidBits, faultInjection = false } = options;
    checkOption('queueCount', queueCount, 1, mqdma.queueCountMax);
    checkOption('pageBytes', pageBytes, 4096, 65_536);
    checkOption('pasidBits', pasidBits, 0, mqdma.pasidBits);
    if (powerOfTwoAtLeast(pageBytes) !== pageBytes) {
      throw new LessorError('INVALID_ARGUMENT', `pageBytes ${pageBytes} is not a power of two`);
    }
    this.#queueCount = queueCount;
    this.#pageBytes = pageBytes;
    this.#options = { pasidBits, faultInjection };
    const vectorCount = queueCount + 1;
    this.#msixTable = new Uint32Array((vectorCount * msixEntryBytes) / 4);
    const pbaOffset = roundUp(vectorCount * msixEntryBytes, 4096);
    const { vendorId, deviceId, revisionId, classCode, msixRegion } = mqdma;
    this.config = {
      vendorId,
      deviceId,
      subsystemVendorId: vendorId,
      subsystemId: deviceId,
      classCode,
      revisionId,
      vectorCount,
      msix: { region: msixRegion, tableOffset: 0, pbaOffset },
      pasidBits,
    };
    this.regions = this.#makeRegions(pbaOffset);
  }

  #makeRegions(pbaOffset: number): DeviceRegion[] {
    const { controlRegion, queueRegion, msixRegion } = mqdma;
    const registersEnd =
      mqdma.queueRegistersOffsetBytes + this.#queueCount * mqdma.queueRegistersStrideBytes;
    const frames: FrameSpec[] = [];
    for (let page = 0; page < 2 * this.#queueCount; page++) {
      const offsetBytes = page * this.#pageBytes;
      frames.push({ offsetBytes, lengthBytes: this.#pageBytes, writable: page % 2 === 0 });
    }
    return [
      { index: controlRegion, lengthBytes: powerOfTwoAtLeast(registersEnd) },
      {
        index: queueRegion,
        lengthBytes: powerOfTwoAtLeast(2 * this.#queueCount * this.#pageBytes),
        frames,
        doorbells: this.#makeDoorbells(),
      },
      { index: msixRegion, lengthBytes: powerOfTwoAtLeast(pbaOffset + 4096) },
    ];
  }

  /** The kicks of as many queues as there may be doorbells; those of the rest go by message. */
  #makeDoorbells(): DoorbellSpec[] {
    const length = Math.min(this.#queueCount, limits.vfioUserIoFdEntriesMax);
    return Array.from({ length }, (_, queue) => ({
      offsetBytes: queuePageOffset(queue, this.#pageBytes) + queuePage.KICK,
      lengthBytes: 4,
    }));
  }

  attach(bus: Bus): void {
    const { queueRegion } = mqdma;
    const queues: QueueState[] = [];
    for (let index = 0; index < this.#queueCount; index++) {
      const offset = queuePageOffset(index, this.#pageBytes);
      const page = bus.frame(queueRegion, offset);
      const status = bus.frame(queueRegion, offset + this.#pageBytes);
      queues.push(new QueueState(index, page, status));
    }
    const shared = new SharedState(bus, queues);
    const engine =
      bus.direct === undefined ? new MessageEngine(shared) : new DirectEngine(shared, bus.direct);
    const scheduler = new Scheduler(engine);
    const options = { ...this.#options, pageStrideBytes: this.#pageBytes };
    const control = new ControlRegisters(shared, options, (queue) => this.#enabled(queue));
    this.#attached = { shared, scheduler, engine, control };
  }

  #enabled(queue: QueueState): void {
    if (!queue.enabled) return;
    this.#attached!.scheduler.add(queue);
    this.#publishNeed(queue, this.#asleep ? 1 : 0);
  }

  #publishNeed(queue: QueueState, value: number): void {
    const { u32, base } = queue.status;
    Atomics.store(u32, base + statusPageWord.NEED_WAKEUP, value);
  }

  #publishNeeds(scheduler: Scheduler, value: number): void {
    for (const queue of scheduler.hot) this.#publishNeed(queue, value);
    for (const queue of scheduler.cold) this.#publishNeed(queue, value);
  }

  read(region: number, offsetBytes: number, width: Width): Value {
    if (width === 8) {
      const low = this.#readWord(region, offsetBytes);
      return (BigInt(this.#readWord(region, offsetBytes + 4)) << 32n) | BigInt(low);
    }
    const word = this.#readWord(region, offsetBytes - (offsetBytes % 4));
    if (width === 4) return word;
    return (word >>> ((offsetBytes % 4) * 8)) & (width === 1 ? 0xff : 0xffff);
  }

  /** Writes narrower than 32 bits are dropped: no register is. */
  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    if (width === 8) {
      const wide = BigInt.asUintN(64, BigInt(value));
      this.#writeWord(region, offsetBytes, Number(wide & 0xffffffffn));
      this.#writeWord(region, offsetBytes + 4, Number(wide >> 32n));
    } else if (width === 4) {
      this.#writeWord(region, offsetBytes, Number(value) >>> 0);
    }
  }

  #readWord(region: number, offsetBytes: number): number {
    const attached = this.#attached;
    if (attached === undefined || attached.control.dead !== 0) return ones;
    if (region === mqdma.controlRegion) return attached.control.read(offsetBytes);
    if (region === mqdma.msixRegion) return this.#msixTable[offsetBytes / 4] ?? 0;
    const frame = this.#frameAt(region, offsetBytes);
    if (frame === undefined) return ones;
    return frame.u32[frame.base + (offsetBytes % this.#pageBytes) / 4]!;
  }

  #writeWord(region: number, offsetBytes: number, value: number): void {
    const attached = this.#attached;
    if (attached === undefined || attached.control.dead !== 0) return;
    if (region === mqdma.controlRegion) {
      attached.control.write(offsetBytes, value);
    } else if (region === mqdma.msixRegion) {
      const word = offsetBytes / 4;
      if (word < this.#msixTable.length) this.#msixTable[word] = value;
    } else {
      const frame = this.#frameAt(region, offsetBytes);
      const isWritable = Math.floor(offsetBytes / this.#pageBytes) % 2 === 0;
      if (frame === undefined || !isWritable) return;
      Atomics.store(frame.u32, frame.base + (offsetBytes % this.#pageBytes) / 4, value);
    }
  }

  #frameAt(region: number, offsetBytes: number): Frame | undefined {
    if (region !== mqdma.queueRegion) return undefined;
    const page = Math.floor(offsetBytes / this.#pageBytes);
    const queue = this.#attached!.shared.queues[Math.floor(page / 2)];
    return page % 2 === 0 ? queue?.page : queue?.status;
  }

  /** One turn of one queue. */
  step(): StepResult {
    const { scheduler, control, shared } = this.#attached!;
    if (control.dead !== 0 || this.#isStopped) return 'idle';
    if (scheduler.step()) return 'more';
    if (!scheduler.anyWaiting) return 'idle';
    const dueMs = scheduler.nextDueMs();
    if (dueMs !== Number.POSITIVE_INFINITY) {
      shared.bus.wakeAfter(Math.max(0, dueMs - shared.bus.nowMs()));
    }
    return 'waiting';
  }

  prepareSleep(): boolean {
    const { scheduler, control, shared } = this.#attached!;
    if (control.dead !== 0 || this.#isStopped) return true;
    this.#asleep = true;
    this.#publishNeeds(scheduler, 1);
    if (!scheduler.anyWork(shared.bus.nowMs())) return true;
    this.awake();
    return false;
  }

  awake(): void {
    if (!this.#asleep) return;
    this.#asleep = false;
    this.#publishNeeds(this.#attached!.scheduler, 0);
  }

  /**
   * Between two turns every queue can be told by its fields. A turn by message ends when the client
   * has answered it, or at the deadline of its message.
   */
  async #stop(): Promise<void> {
    this.#isStopped = true;
    await this.#attached!.engine.settled();
  }

  #start(): void {
    this.#isStopped = false;
    this.#attached!.shared.bus.wakeAfter(0);
  }

  #load(state: Uint8Array): void {
    const { shared, control, scheduler } = this.#attached!;
    loadMqdma(shared, control, this.#options, state);
    scheduler.clear();
    for (const queue of shared.queues) if (queue.enabled || queue.busy) scheduler.add(queue);
  }

  reset(): void {
    const { scheduler, control, shared } = this.#attached!;
    for (const queue of shared.queues) queue.resetAll();
    control.reset();
    scheduler.clear();
    this.#msixTable.fill(0);
  }
}

function checkOption(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new LessorError('INVALID_ARGUMENT', `${name} ${value} is not an integer in ${min}..${max}`);
}
