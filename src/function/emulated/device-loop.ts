// The life of a device in its worker: requests, invalidations and table changes between steps;
// spinning for a while when idle, then sleeping. In its own event loop only when it must.
import type { Clock } from '../../base/clock.js';
import type { PciDevice } from '../../device/types.js';
import type { DeviceIommu } from '../../iommu/soft/device-iommu.js';
import type { Arena } from '../../os/memory-types.js';
import { type ControlBlock, word, workerState } from './control-block.js';
import type { MailboxServer } from './mailbox-server.js';
import { waitForChange } from './wait-async.js';
import type { WorkerBus } from './worker-bus.js';
import type { WorkerFrames } from './worker-frames.js';

/** Longest wait in the event loop: invalidations are acknowledged after it. */
const turnMillis = 1;

export interface DeviceLoopParts {
  readonly control: ControlBlock;
  readonly device: PciDevice;
  readonly mailbox: MailboxServer;
  readonly bus: WorkerBus;
  readonly frames: WorkerFrames;
  readonly iommu: DeviceIommu;
  readonly arena: Arena;
  readonly clock: Clock;
  readonly idleSpinMs: number;
  readonly notify: () => void;
}

function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class DeviceLoop {
  readonly #parts: DeviceLoopParts;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #barrierSeen = -1;
  #guardFaults: number;
  #lastWorkMs: number;

  constructor(parts: DeviceLoopParts) {
    this.#parts = parts;
    this.#words = parts.control.words;
    this.#guardFaults = parts.arena.faults[0]!;
    this.#lastWorkMs = parts.clock.nowMs();
  }

  /** Runs until main asks to stop. What the device throws comes out of here. */
  async run(): Promise<void> {
    for (;;) {
      const end = this.#runUntilIdle();
      if (end === 'stop') return;
      if (end === 'turn') await this.#turn();
      else {
        // What the device printed, and its promises, need a turn before the thread blocks.
        await macrotask();
        if (this.#parts.mailbox.pendingCount === 0) this.#sleep();
      }
    }
  }

  /** Synchronous as long as there is work: a turn of the event loop costs more than a step. */
  #runUntilIdle(): 'stop' | 'turn' | 'sleep' {
    const { device, bus, mailbox, clock, idleSpinMs } = this.#parts;
    for (;;) {
      if (Atomics.load(this.#words, word.stop) !== 0) return 'stop';
      const served = this.#poll();
      const result = device.step === undefined ? 'idle' : device.step();
      const nowMs = clock.nowMs();
      if (result === 'more' || served) this.#lastWorkMs = nowMs;
      else if (nowMs >= bus.wakeAtMs) {
        bus.clearWake();
        continue;
      }
      if (mailbox.pendingCount > 0) return 'turn';
      if (nowMs - this.#lastWorkMs >= idleSpinMs) return 'sleep';
    }
  }

  /** @returns True when there were requests. */
  #poll(): boolean {
    const { iommu, mailbox, arena, frames } = this.#parts;
    const barrier = Atomics.load(this.#words, word.barrier);
    if (barrier !== this.#barrierSeen) {
      frames.refresh();
      this.#barrierSeen = barrier;
      Atomics.store(this.#words, word.barrierSeen, barrier);
      this.#parts.notify();
    }
    iommu.poll();
    const faults = arena.faults[0]!;
    if (faults !== this.#guardFaults) {
      this.#guardFaults = faults;
      Atomics.store(this.#words, word.guardFaults, faults);
      this.#parts.notify();
    }
    return mailbox.poll();
  }

  /** Lets the event loop turn once, waiting a moment in it when the device is idle. */
  async #turn(): Promise<void> {
    const { clock, idleSpinMs, mailbox } = this.#parts;
    await macrotask();
    if (clock.nowMs() - this.#lastWorkMs < idleSpinMs) return;
    const seen = Atomics.load(this.#words, word.wake);
    Atomics.store(this.#words, word.state, workerState.turning);
    if (!mailbox.hasRequest) await waitForChange(this.#words, word.wake, seen, turnMillis);
    Atomics.store(this.#words, word.state, workerState.running);
  }

  #sleep(): void {
    const { device, iommu, bus, clock } = this.#parts;
    const isQuiet = device.prepareSleep === undefined || device.prepareSleep();
    if (isQuiet) {
      Atomics.store(this.#words, word.state, workerState.asleep);
      // Whoever came before that store found us running and did not wake us.
      if (!this.#hasNews()) iommu.sleep(Math.max(bus.wakeAtMs - clock.nowMs(), 0));
      Atomics.store(this.#words, word.state, workerState.running);
      // Frames may have moved while asleep counted as acknowledged.
      this.#poll();
    }
    device.awake?.();
    this.#lastWorkMs = clock.nowMs();
  }

  #hasNews(): boolean {
    return (
      Atomics.load(this.#words, word.stop) !== 0 ||
      Atomics.load(this.#words, word.barrier) !== this.#barrierSeen ||
      this.#parts.mailbox.hasRequest
    );
  }
}
