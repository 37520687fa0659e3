// A function for tests of drivers: hosts a PciDevice on a TestBus in the same thread. The device
// runs to rest after every register access and whenever time passes.
import { assert } from '../../base/errors.js';
import { iovaEnd } from '../../base/units.js';
import { TestBus, type TestBusOptions } from '../../device/testing/test-bus.js';
import type { PciDevice, Value, Width } from '../../device/types.js';
import type {
  BackingSpec,
  DmaPort,
  FunctionEvent,
  FunctionInfo,
  PciFunction,
  Registers,
  Window,
} from '../../function/types.js';
import type { AddressSpace, DmaMapping, DmaMemory } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import type { ScratchMemory } from '../types.js';
import { VirtualClock } from './virtual-clock.js';

const pageBytes = 4096;
const stepsMax = 100_000;

/** One register access that a driver made. */
export interface RecordedAccess {
  readonly kind: 'read' | 'write';
  readonly region: number;
  readonly offsetBytes: number;
  readonly value: number;
}

export class TestFunction implements PciFunction {
  readonly device: PciDevice;
  readonly bus: TestBus;
  readonly clock: VirtualClock;
  readonly info: FunctionInfo;
  readonly accesses: RecordedAccess[] = [];
  kicks = 0;
  liveScratch = 0;
  liveMappings = 0;
  readonly #interruptListeners = new Map<number, Set<() => void>>();
  readonly #memories = new Map<DmaMemory, number>();

  constructor(device: PciDevice, options: TestBusOptions = {}) {
    this.device = device;
    this.bus = new TestBus(options);
    this.clock = new VirtualClock((nowMs) => {
      this.bus.now = nowMs;
      this.settle();
    });
    device.attach(this.bus);
    this.bus.onInterrupt = (vector) => {
      for (const listener of this.#interruptListeners.get(vector) ?? []) setImmediate(listener);
    };
    const { config, regions } = device;
    const { msix } = config;
    this.info = {
      ...config,
      name: 'test0',
      underside: 'emulated',
      regions: regions.map(({ index, lengthBytes, frames }) => {
        return { index, lengthBytes, mappable: frames !== undefined };
      }),
      reserved: msix
        ? [
            { region: msix.region, offsetBytes: msix.tableOffset, lengthBytes: 4096 },
            { region: msix.region, offsetBytes: msix.pbaOffset, lengthBytes: 4096 },
          ]
        : [],
      iovaPageBytes: pageBytes,
      aperture: { start: 0, end: iovaEnd },
      epoch: 1,
    };
  }

  /** Lets the device come to rest. */
  settle(): void {
    for (let steps = 0; this.device.step?.() === 'more'; steps++) {
      assert(steps < stepsMax, 'the device does not come to rest');
    }
  }

  registers(region: number): Registers {
    const read = async (offsetBytes: number, width: Width): Promise<Value> => {
      await undefined;
      const value = await this.device.read(region, offsetBytes, width);
      this.accesses.push({ kind: 'read', region, offsetBytes, value: Number(value) });
      return value;
    };
    const write = async (offsetBytes: number, width: Width, value: Value): Promise<void> => {
      await undefined;
      this.accesses.push({ kind: 'write', region, offsetBytes, value: Number(value) });
      await this.device.write(region, offsetBytes, width, value);
      this.settle();
    };
    return {
      read8: async (offset) => Number(await read(offset, 1)),
      read16: async (offset) => Number(await read(offset, 2)),
      read32: async (offset) => Number(await read(offset, 4)),
      read64: async (offset) => BigInt(await read(offset, 8)),
      write8: (offset, value) => write(offset, 1, value),
      write16: (offset, value) => write(offset, 2, value),
      write32: (offset, value) => write(offset, 4, value),
      write64: (offset, value) => write(offset, 8, value),
    };
  }

  /** Fresh zeroed pages behind the frames, of which the broker's side would keep a descriptor. */
  async openWindow(spec: BackingSpec): Promise<Window> {
    const swap = (): void => {
      for (const { offsetBytes, lengthBytes } of spec.ranges) {
        for (let at = 0; at < lengthBytes; at += pageBytes) {
          this.bus.replaceFrame(spec.region, offsetBytes + at);
        }
      }
    };
    const lengthBytes = spec.ranges.reduce((sum, range) => sum + range.lengthBytes, 0);
    return {
      fd: undefined,
      lengthBytes,
      revocation: 'mediated',
      isDmaTarget: false,
      registers: this.registers(spec.region),
      connect: async () => swap(),
      detach: async () => swap(),
      zap: async () => 'gone',
      onTruncated: () => ({ [Symbol.dispose]() {} }),
      [Symbol.asyncDispose]: async () => swap(),
    };
  }

  /** Memory that `dma` can map. */
  scratchMemory(lengthBytes: number): ScratchMemory {
    // Taken from the bus, and reachable at no address yet.
    const offset = this.bus.map('nowhere' as unknown as number, 0, lengthBytes);
    const memory: DmaMemory = { fd: undefined, offsetBytes: 0 };
    this.#memories.set(memory, offset);
    this.liveScratch++;
    return {
      memory,
      lengthBytes,
      u32: this.bus.u32.subarray(offset / 4, (offset + lengthBytes) / 4),
      [Symbol.dispose]: () => {
        this.#memories.delete(memory);
        this.liveScratch--;
      },
    };
  }

  readonly dma: DmaPort = {
    open: async ({ pasid }): Promise<AddressSpace> => {
      const live = new Set<DmaMapping>();
      const unmap = async (mapping: DmaMapping): Promise<void> => {
        if (!live.delete(mapping)) return;
        this.liveMappings--;
        this.bus.unmap(pasid, mapping.iova, mapping.lengthBytes);
      };
      return {
        pasid,
        map: async (memory, iova, lengthBytes, access) => {
          const offset = this.#memories.get(memory);
          assert(offset !== undefined, 'memory of this function');
          this.bus.mapAt(pasid, iova, offset + memory.offsetBytes, lengthBytes, access);
          const mapping = { iova, lengthBytes, access };
          live.add(mapping);
          this.liveMappings++;
          return mapping;
        },
        unmap,
        onMemoryGone: () => ({ [Symbol.dispose]() {} }),
        [Symbol.asyncDispose]: async () => {
          for (const mapping of [...live]) await unmap(mapping);
        },
      };
    },
  };

  async setInterrupt(_vector: number, target: Fd | undefined): Promise<void> {
    target?.close();
  }

  /** What a host's eventfd and its watch come to. */
  async onInterrupt(vector: number, listener: () => void): Promise<AsyncDisposable> {
    const listeners = this.#interruptListeners.get(vector) ?? new Set();
    this.#interruptListeners.set(vector, listeners);
    listeners.add(listener);
    return {
      [Symbol.asyncDispose]: async () => {
        listeners.delete(listener);
      },
    };
  }

  listenerCount(vector: number): number {
    return this.#interruptListeners.get(vector)?.size ?? 0;
  }

  kick(): void {
    this.kicks++;
    this.device.awake?.();
    this.settle();
  }

  async reset(): Promise<void> {
    this.device.reset();
  }

  onEvent(_listener: (event: FunctionEvent) => void): Disposable {
    return { [Symbol.dispose]() {} };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
