// What the driver tells the broker, and what it may ask: refused DMA, slices that cannot be
// trusted, interrupts and memory of its own.
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { DriverHost, ScratchMemory, Slice, SliceFault } from '../driver/types.js';
import { createSealedMemory } from '../os/sealed-memory.js';
import type { BrokerContext } from './context.js';
import type { FaultDesk } from './fault-desk.js';
import type { BrokerLease } from './lease.js';

export class BrokerDriverHost implements DriverHost {
  readonly log: Logger;
  readonly clock: Clock;
  readonly #context: BrokerContext;
  readonly #faults: FaultDesk;
  readonly #leaseOf: (slice: Slice) => BrokerLease | undefined;

  constructor(
    context: BrokerContext,
    faults: FaultDesk,
    leaseOf: (slice: Slice) => BrokerLease | undefined,
  ) {
    this.#context = context;
    this.#faults = faults;
    this.#leaseOf = leaseOf;
    this.log = context.log;
    this.clock = context.os.clock;
  }

  fault(slice: Slice, fault: SliceFault): void {
    this.#faults.fromDriver(slice.name, fault);
  }

  unhealthy(slice: Slice | undefined, reason: string): void {
    if (slice === undefined) {
      this.#context.functionStuck(reason);
      return;
    }
    this.log.warn('unhealthy slice', { slice: slice.name, reason });
    this.#leaseOf(slice)?.break(reason);
  }

  async onInterrupt(vector: number, listener: () => void): Promise<AsyncDisposable> {
    const { fn, os } = this.#context;
    const fd = os.events.createEventFd();
    let watch: Disposable | undefined;
    const stop = (): void => {
      watch?.[Symbol.dispose]();
      fd.close();
    };
    try {
      watch = os.events.watch(fd, () => {
        if (os.events.drain(fd) > 0n) listener();
      });
      await fn.setInterrupt(vector, fd.duplicate());
    } catch (error) {
      stop();
      throw error;
    }
    return {
      async [Symbol.asyncDispose]() {
        await fn.setInterrupt(vector, undefined);
        stop();
      },
    };
  }

  scratchMemory(lengthBytes: number): ScratchMemory {
    const { fd, mapping } = createSealedMemory(
      this.#context.os.memory,
      'lessor-scratch',
      lengthBytes,
    );
    return {
      memory: { fd, offsetBytes: 0 },
      lengthBytes: mapping.lengthBytes,
      u32: new Uint32Array(mapping.buffer),
      [Symbol.dispose]() {
        mapping[Symbol.dispose]();
        fd.close();
      },
    };
  }
}
