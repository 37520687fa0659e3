// What the author of a driver writes: how to find, grant, quiesce, reset and take back slices.
import type { Clock } from '../base/clock.js';
import type { Isolation, WindowMemory } from '../base/labels.js';
import type { Logger } from '../base/log.js';
import type { Schema } from '../base/schema.js';
import type { FunctionInfo, PciFunction, RegionRange } from '../function/types.js';
import type { DmaMemory, FaultReason } from '../iommu/types.js';

export interface WindowSpec {
  /** At most 12 bytes of ASCII, unique in the slice. */
  readonly name: string;
  readonly region: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly access: 'read-write' | 'read';
  /** False: reachable by message alone. */
  readonly mappable: boolean;
  /**
   * `write-combining`: its clients get along with stores that are held back, merged and reordered,
   * as for a buffer in the device. They get it where the kernel can do it. Default: `device`.
   */
  readonly memory?: WindowMemory;
  /** Byte ranges, from the window's start, whose write by message means work: `kick` follows. */
  readonly doorbells?: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
}

/** What a slice is granted with. Exactly one of `pasid` and `bounds` under a policed isolation. */
export interface Terms {
  readonly leaseId: string;
  readonly epoch: number;
  readonly pasid: number | undefined;
  readonly bounds: { readonly base: number; readonly lengthBytes: number } | undefined;
}

export interface SliceFault {
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: FaultReason;
}

/** One independently usable part of a function: the unit that is leased. */
export interface Slice {
  readonly name: string;
  readonly kind: string;
  readonly windows: readonly WindowSpec[];
  /** Vectors of the function, in the order in which the lease shows them. */
  readonly vectors: readonly number[];
  /** Programs PASID or bounds and lets the slice run. */
  grant(terms: Terms): Promise<void>;
  /** Stops the slice from starting DMA; `idle` only when what it started has finished. */
  quiesce(signal: AbortSignal): Promise<'idle' | 'busy'>;
  /** Harder than quiesce. `idle` as above. Leaves the slice as after grant if it has a grant. */
  reset(signal: AbortSignal): Promise<'idle' | 'busy'>;
  /** Takes back PASID or bounds. Called after idle, or when a quarantine is released. */
  ungrant(): Promise<void>;
  /** Bus Master Enable of the lease: no DMA may start while it is clear. Absent: always may. */
  permitDma?(permitted: boolean): Promise<void>;
  /** A message wrote one of the slice's doorbells. Rate-limited by the caller. */
  kick?(): void;
}

/** Memory of the broker's own that a device can be made to reach. Zeroed at first. */
export interface ScratchMemory extends Disposable {
  /** For `AddressSpace.map`, from offset 0. */
  readonly memory: DmaMemory;
  readonly lengthBytes: number;
  readonly u32: Uint32Array;
}

export interface DriverHost {
  /** A slice's DMA was refused. */
  fault(slice: Slice, fault: SliceFault): void;
  /** A slice (or the function, when undefined) cannot be trusted: its lease is reclaimed. */
  unhealthy(slice: Slice | undefined, reason: string): void;
  /**
   * Calls back soon after a vector of the function fired, until disposed. For vectors of the driver
   * itself, those of no slice; the host makes, binds and watches the eventfd.
   */
  onInterrupt(vector: number, listener: () => void): Promise<AsyncDisposable>;
  /** Memory for a driver's own tests of its device, in whole pages. */
  scratchMemory(lengthBytes: number): ScratchMemory;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface RunningDriver {
  readonly slices: readonly Slice[];
  /** The function's control registers: no window may touch them, nor MSI-X table and PBA. */
  readonly reserved?: readonly RegionRange[];
  /**
   * The isolation every lease of this function gets; modes are not mixed. `exclusive`: no slice can
   * be told from another by the IOMMU, so there is one lease at a time, whoever asks for it.
   */
  readonly isolation: Isolation;
  /**
   * Where leases may have memory, when the device cannot address all that the IOMMU translates:
   * their IOVA windows lie in it, from `start` to before `end`. Absent: the function's own.
   */
  readonly aperture?: { readonly start: number; readonly end: number };
  /** Injects a fault into a slice, where the device offers it; for tests and the demo. */
  inject?(slice: Slice, fault: string, value: number): Promise<void>;
  /** Called after a function reset: brings the function up again, all slices idle, ungranted. */
  restart(): Promise<void>;
  /**
   * `restart` does without a reset before it: it finds out from registers that nothing of before is
   * under way, and fails otherwise. Absent: a function that the host cannot reset (`UNSUPPORTED`)
   * is lost when it would have to be.
   */
  readonly restartsUnreset?: boolean;
  stop(): Promise<void>;
}

export interface Driver<Options> {
  readonly name: string;
  readonly options: Schema<Options>;
  match(info: FunctionInfo): boolean;
  start(fn: PciFunction, host: DriverHost, options: Options): Promise<RunningDriver>;
}

/** Types a driver; returns it unchanged. */
export function defineDriver<Options>(driver: Driver<Options>): Driver<Options> {
  return driver;
}
