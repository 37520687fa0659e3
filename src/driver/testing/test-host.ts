// A host for tests of drivers: writes down what the driver says.
import type { Clock } from '../../base/clock.js';
import { silentLogger } from '../../base/log.js';
import type { DriverHost, ScratchMemory, Slice, SliceFault } from '../types.js';
import type { TestFunction } from './test-function.js';

export class TestHost implements DriverHost {
  readonly faults: { readonly slice: string; readonly fault: SliceFault }[] = [];
  readonly unwell: { readonly slice: string | undefined; readonly reason: string }[] = [];
  readonly clock: Clock;
  readonly log = silentLogger;
  readonly #fn: TestFunction;

  constructor(fn: TestFunction) {
    this.#fn = fn;
    this.clock = fn.clock;
  }

  fault(slice: Slice, fault: SliceFault): void {
    this.faults.push({ slice: slice.name, fault });
  }

  unhealthy(slice: Slice | undefined, reason: string): void {
    this.unwell.push({ slice: slice?.name, reason });
  }

  onInterrupt(vector: number, listener: () => void): Promise<AsyncDisposable> {
    return this.#fn.onInterrupt(vector, listener);
  }

  scratchMemory(lengthBytes: number): ScratchMemory {
    return this.#fn.scratchMemory(lengthBytes);
  }
}
