// What the author of a device writes, and the bus it sits on. The emulated function hosts a
// PciDevice in a worker thread; the vfio-user server serves one from any process.
import type { Access, FaultReason } from '../iommu/types.js';

/** A register value: a number up to 32 bits, a bigint at 64. */
export type Value = number | bigint;
export type Width = 1 | 2 | 4 | 8;

export interface DeviceRegion {
  /** 0-5 BARs, 6 expansion ROM, 8 VGA, 9 and up device-specific, without a gap. */
  readonly index: number;
  readonly lengthBytes: number;
  /** What a device-specific region is: VFIO_REGION_INFO_CAP_TYPE. */
  readonly type?: { readonly type: number; readonly subtype: number };
  /**
   * Granularity in bytes of the frames that stand behind mappable ranges; absent: callbacks only.
   * A page of a mappable region is read and written by clients without any callback.
   */
  readonly frames?: readonly FrameSpec[];
  /**
   * Registers that a client may ring through an eventfd instead of a message. At most
   * `limits.vfioUserIoFdEntriesMax`, of which those outside of frames, each with a descriptor of
   * its own, and one for all the rest are at most `limits.vfioUserFdsMax`. A host may not offer
   * them: messages do the same.
   */
  readonly doorbells?: readonly DoorbellSpec[];
}

/**
 * A register whose write means "look". A ring arrives as `write(region, offsetBytes, lengthBytes,
 * datamatch)`, 0 without a datamatch, or, where the register is in a frame, as a `step` alone:
 * nothing is stored. Several rings may arrive as one, they have no order among messages, and none
 * from before a reset arrives after it.
 */
export interface DoorbellSpec {
  /** Naturally aligned; not in a frame that only the device writes. */
  readonly offsetBytes: number;
  readonly lengthBytes: Width;
  /**
   * The value that rings; absent: any. It fits `lengthBytes`. Registers do not overlap, but one may
   * stand here several times with different values.
   */
  readonly datamatch?: bigint;
}

/** A range of a region that clients may map. One page or several. */
export interface FrameSpec {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** The holder may write it; false: only the device does. */
  readonly writable: boolean;
}

export interface DeviceConfig {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  readonly classCode: number;
  readonly revisionId: number;
  readonly vectorCount: number;
  /** Where the MSI-X table and PBA are; absent without MSI-X. */
  readonly msix?: {
    readonly region: number;
    readonly tableOffset: number;
    readonly pbaOffset: number;
  };
  /** Vectors of the MSI capability, a power of two up to 32; absent: no MSI. */
  readonly msiVectorCount?: number;
  /** Width of the MSI address register; default 64, which 32-bit software can use too. */
  readonly msiAddressBits?: 32 | 64;
  /** The function has a level-triggered INTx pin, driven by `Bus.setIntx`. */
  readonly intx?: boolean;
  readonly pasidBits: number;
}

/**
 * The memory behind one frame, as the device sees it. `u32[base + register]` is a live word.
 * Both fields change when a window is connected or detached: read them anew in every step.
 */
export interface Frame {
  readonly u32: Uint32Array;
  /** Index of the frame's first word in `u32`. */
  readonly base: number;
}

/** Translated memory without messages. Offsets are bytes into the views. */
export interface DirectMemory {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  /** Translations are valid for the page of this many bytes that holds the IOVA. */
  readonly pageBytes: number;
  /**
   * @param pasid - undefined: the function's own requester id.
   * @returns Byte offset into the views, or the negative index into `faultReasons`, minus one.
   */
  translate(pasid: number | undefined, iova: number, access: 'read' | 'write'): number;
  /**
   * Grows when this thread touched guarded memory that had vanished; compare around a transfer.
   * Plain load.
   */
  faultCount(): number;
  /**
   * Differs from an earlier value whenever a translation made since may have gone. A device may
   * keep a translation for as long as it reads, after each `yieldPoint` and at the start of each
   * `step`, the value it was made under. Absent: nothing may be kept. Plain load.
   */
  generation?(): number;
}

/** A refused DMA. */
export interface BusFault {
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: FaultReason;
}

export interface Bus {
  /** Absent where memory is reached by message alone. */
  readonly direct: DirectMemory | undefined;
  frame(region: number, offsetBytes: number): Frame;
  /** Copies from memory; resolves or returns undefined when done, or the fault. */
  read(
    pasid: number | undefined,
    iova: number,
    into: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined>;
  write(
    pasid: number | undefined,
    iova: number,
    from: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined>;
  /**
   * The device calls this between chunks of at most 4 KiB of work, inside `step`. The host
   * acknowledges invalidations there; it must not call the device back. Cheap when nothing waits.
   */
  yieldPoint?(): void;
  /** Fires a vector of MSI-X, or else of MSI; silent when it is not bound. */
  interrupt(vector: number): void;
  /**
   * Drives the INTx pin. It is a level: the host signals again after an unmask as long as it is
   * high, and not at all while MSI or MSI-X is on. Absent where the host has no pin.
   */
  setIntx?(level: boolean): void;
  /** Asks for another `step` no later than this many milliseconds from now. */
  wakeAfter(delayMs: number): void;
  nowMs(): number;
}

export type StepResult = 'more' | 'idle' | 'waiting';

/** How a device moves to another server. From `stop` to `start` it neither DMAs nor interrupts. */
export interface DeviceMigration {
  /** Resolves when no DMA is under way. */
  stop(): void | Promise<void>;
  start(): void;
  /** Everything that `load` needs; called while stopped. */
  save(): Uint8Array;
  /**
   * Takes over a saved state; called while stopped.
   *
   * @param state - Hostile: checked whole before anything is changed.
   * @throws LessorError `INVALID_ARGUMENT` for bytes that `save` did not make.
   */
  load(state: Uint8Array): void;
}

export interface PciDevice {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
  attach(bus: Bus): void;
  /** Register access by callback; never called for pages that stand behind frames of a window. */
  read(region: number, offsetBytes: number, width: Width): Value | Promise<Value>;
  write(region: number, offsetBytes: number, width: Width, value: Value): void | Promise<void>;
  /**
   * Does a bounded piece of work. `more`: call again at once; `idle`: nothing to do;
   * `waiting`: nothing to do before the time given to `bus.wakeAfter`.
   */
  step?(): StepResult;
  /** About to sleep: publish need-wakeup, look once more; true when there is nothing to do. */
  prepareSleep?(): boolean;
  /** Awake again. */
  awake?(): void;
  reset(): void;
  /** Absent: the device does not migrate. */
  readonly migration?: DeviceMigration;
}

export type { Access };
