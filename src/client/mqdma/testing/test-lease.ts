// A lease for tests of the queue: windows, memory and interrupts of one queue of an mqdma device
// on a TestBus. The device steps by itself between turns of the event loop.
import type { Clock } from '../../../base/clock.js';
import { mqdma, queuePage, queuePageOffset, statusPage } from '../../../device/mqdma/datasheet.js';
import type { MqdmaDevice } from '../../../device/mqdma/device.js';
import type { TestBus } from '../../../device/testing/test-bus.js';
import type {
  LeaseInterrupt,
  LeaseMemory,
  LeaseRegisters,
  LeaseWindow,
  QueueLease,
} from '../queue-lease.js';

const pageBytes = 4096;

export interface TestLeaseOptions {
  readonly queue?: number;
  readonly pasid?: number;
  readonly kind?: 'mapped' | 'message';
}

/** The clock of the test: real time from the platform, timers by setImmediate. */
function makeClock(bus: TestBus): Clock {
  return {
    nowMs: () => performance.now(),
    wallMs: () => bus.now,
    after(delayMs, callback) {
      let cancelled = false;
      const untilMs = performance.now() + delayMs;
      const look = (): void => {
        if (cancelled) return;
        if (performance.now() >= untilMs) callback();
        else setImmediate(look);
      };
      setImmediate(look);
      return {
        [Symbol.dispose]: () => {
          cancelled = true;
        },
      };
    },
  };
}

export class TestLease implements QueueLease {
  readonly device: MqdmaDevice;
  readonly bus: TestBus;
  readonly clock: Clock;
  readonly queue: number;
  readonly messages: { window: string; offsetBytes: number; value: number }[] = [];
  /** Called at once for every posted message. */
  onPost: ((offsetBytes: number) => void) | undefined;
  /** How often a wait was entered. */
  waits = 0;
  closed = false;
  /** Messages fail from now on. */
  broken = false;
  liveAllocations = 0;
  readonly #kind: 'mapped' | 'message';
  readonly #pasid: number | undefined;
  readonly #closedListeners = new Set<() => void>();
  #wake: (() => void) | undefined;
  #signalled = false;
  #nextIova = 0x4000_0000;
  #running = false;

  constructor(device: MqdmaDevice, bus: TestBus, options: TestLeaseOptions = {}) {
    this.device = device;
    this.bus = bus;
    this.queue = options.queue ?? 0;
    this.#kind = options.kind ?? 'mapped';
    this.#pasid = options.pasid;
    this.clock = makeClock(bus);
    bus.onInterrupt = (vector) => {
      if (vector === this.queue) this.signal();
    };
  }

  /** The interrupt fires. */
  signal(): void {
    this.#signalled = true;
    this.#wake?.();
  }

  /** The device runs between turns of the event loop, as its worker would. */
  start(): this {
    if (this.#running) return this;
    this.#running = true;
    const turn = (): void => {
      if (!this.#running) return;
      for (let steps = 0; steps < 100 && this.device.step() === 'more'; steps++);
      setImmediate(turn);
    };
    turn();
    return this;
  }

  stop(): void {
    this.#running = false;
  }

  /** Ends the lease as a revocation does: windows read ones, messages fail, listeners hear. */
  end(): void {
    this.closed = true;
    this.broken = true;
    for (const offset of [0, pageBytes]) {
      this.bus.frameOf(mqdma.queueRegion, this.#offset + offset).u32.fill(0xffffffff);
    }
    for (const listener of this.#closedListeners) listener();
    this.#wake?.();
  }

  get #offset(): number {
    return queuePageOffset(this.queue, pageBytes);
  }

  window(name: string): LeaseWindow {
    const offset = this.#offset + (name === 'status' ? pageBytes : 0);
    const frame = this.bus.frameOf(mqdma.queueRegion, offset);
    const registers = this.#registers(name, offset);
    if (this.#kind === 'message') return { kind: 'message', ...registers };
    return {
      kind: 'mapped',
      u32: frame.u32,
      revoked: false,
      read32: async (at) => frame.u32[at / 4]!,
      write32: async (at, value) => {
        frame.u32[at / 4] = value;
      },
      postMessage32: registers.postMessage32,
    };
  }

  #registers(name: string, offset: number): LeaseRegisters {
    const check = async (): Promise<void> => {
      await undefined;
      if (this.broken) throw new RangeError('the connection is gone');
    };
    const write = (at: number, value: number): void => {
      this.messages.push({ window: name, offsetBytes: at, value });
      this.device.write(mqdma.queueRegion, offset + at, 4, value);
      this.device.awake();
    };
    return {
      read32: async (at) => {
        await check();
        return Number(this.device.read(mqdma.queueRegion, offset + at, 4));
      },
      write32: async (at, value) => {
        await check();
        write(at, value);
      },
      // Arrives some time later, and whether it did is not told.
      postMessage32: (at, value) => {
        this.onPost?.(at);
        setImmediate(() => {
          if (!this.broken) write(at, value);
        });
      },
    };
  }

  readonly memory = {
    allocate: async (lengthBytes: number): Promise<LeaseMemory> => {
      const iova = this.#nextIova;
      this.#nextIova += Math.ceil(lengthBytes / pageBytes + 1) * pageBytes;
      const at = this.bus.map(this.#pasid, iova, lengthBytes);
      this.liveAllocations++;
      return {
        iova,
        lengthBytes,
        u8: this.bus.u8.subarray(at, at + lengthBytes),
        u32: this.bus.u32.subarray(at / 4, (at + lengthBytes) / 4),
        [Symbol.asyncDispose]: async () => {
          this.liveAllocations--;
          this.bus.unmap(this.#pasid, iova, lengthBytes);
        },
      };
    },
  };

  interrupt(): LeaseInterrupt {
    return {
      wait: (timeoutMs) =>
        new Promise((resolve) => {
          this.waits++;
          const timer = this.clock.after(timeoutMs, () => this.#wake?.());
          this.#wake = () => {
            this.#wake = undefined;
            this.#signalled = false;
            timer[Symbol.dispose]();
            resolve();
          };
          if (this.#signalled || this.closed) this.#wake();
        }),
    };
  }

  onClosed(listener: () => void): Disposable {
    if (this.closed) listener();
    else this.#closedListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#closedListeners.delete(listener) };
  }
}

/** Offsets by name, for assertions about messages. */
export const offsets = { queue: queuePage, status: statusPage };
