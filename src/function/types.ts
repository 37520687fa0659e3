// One PCI function, whatever is underneath.
import type { Revocation, WindowMemory } from '../base/labels.js';
import type { AddressSpace, DmaMemory, FaultReason } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';

export type Underside = 'emulated' | 'vfio-user' | 'vfio';

export interface RegionInfo {
  readonly index: number;
  readonly lengthBytes: number;
  /** Clients may map parts of it. */
  readonly mappable: boolean;
  /** What a process maps that is given the device itself. Absent: nobody can be given it. */
  readonly deviceAreas?: readonly WindowRange[];
}

export interface FunctionInfo {
  readonly name: string;
  readonly underside: Underside;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  /** 24-bit class, subclass, programming interface. */
  readonly classCode: number;
  readonly revisionId: number;
  readonly regions: readonly RegionInfo[];
  readonly vectorCount: number;
  /** Ranges of a region that no window may touch: MSI-X table and PBA. */
  readonly reserved: readonly RegionRange[];
  /** Absent: clients map memory that stands in for registers, which harms nobody. */
  readonly windows?: WindowTraits;
  /** Width of PASIDs the function can send; 0 when it has none. */
  readonly pasidBits: number;
  readonly iovaPageBytes: number;
  /** First IOVA and one past the last that the function can address. */
  readonly aperture: { readonly start: number; readonly end: number };
  /** Ranges of the aperture that nothing can be mapped in: absent, none. `end` is exclusive. */
  readonly reservedIovas?: readonly { readonly start: number; readonly end: number }[];
  /** +1 per reset and per broker start. */
  readonly epoch: number;
}

/** Part of a region. */
export interface WindowRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface RegionRange extends WindowRange {
  readonly region: number;
}

/** Exactly one access of the named width each. Offsets in bytes, naturally aligned. */
export interface Registers {
  read8(offsetBytes: number): Promise<number>;
  read16(offsetBytes: number): Promise<number>;
  read32(offsetBytes: number): Promise<number>;
  read64(offsetBytes: number): Promise<bigint>;
  write8(offsetBytes: number, value: number): Promise<void>;
  write16(offsetBytes: number, value: number): Promise<void>;
  write32(offsetBytes: number, value: number): Promise<void>;
  write64(offsetBytes: number, value: bigint): Promise<void>;
}

/** What clients map of a function's windows. */
export interface WindowTraits {
  /** The device's registers themselves: a mapping that is left to its holder still reaches them. */
  readonly direct: boolean;
  /** Whoever holds one can harm the kernel, through a flaw of it. */
  readonly harmful: boolean;
  /** Mappings can be made write-combining. */
  readonly combining: boolean;
}

/** The process that gets a device itself. */
export interface DeviceHolder {
  /**
   * Ends the process; resolves when it is proved dead, so that nothing reaches the device through
   * it, and at once when it never got the device. May be tried again.
   *
   * @throws LessorError `DEADLINE_EXCEEDED` when it does not die
   */
  end(): Promise<void>;
}

/** For whom a window is made. */
export interface WindowTerms {
  readonly uid: number;
  /** Gets the device itself, of which the window is a part: the cut is this process's death. */
  readonly holder?: DeviceHolder;
}

/** One backing, hence one descriptor: some ranges of one region, concatenated. */
export interface BackingSpec {
  readonly region: number;
  readonly ranges: readonly WindowRange[];
  readonly access: 'read-write' | 'read';
  /** What the holder can live with; it is done where the kernel can. Default: `device`. */
  readonly memory?: WindowMemory;
}

/** Part of a BAR that one lease may reach. Made unjoined; `connect` joins it to the device. */
export interface Window extends AsyncDisposable {
  /** What a client maps; absent when only messages reach it. Owned by the window. */
  readonly fd: Fd | undefined;
  /**
   * Where in `fd` the region begins, with the window's ranges where they are in the region. Absent:
   * `fd` has the ranges alone, one after the other.
   */
  readonly regionOffsetBytes?: number;
  readonly lengthBytes: number;
  readonly revocation: Revocation;
  /** What mappings of it may do at most, whatever was asked for. Absent: `device`. */
  readonly memory?: WindowMemory;
  /** Access by message, from the window's start; all ones before connect and after detach. */
  readonly registers: Registers;
  /**
   * What address spaces of the same function map to have their devices reach this window: from
   * connect to detach, which takes it from them. Absent: not yet or no longer, or never.
   */
  readonly dmaMemory?: DmaMemory | undefined;
  /** The function can be told to map its windows. */
  readonly isDmaTarget: boolean;
  /**
   * Seals, verifies the state off-thread, joins to the device.
   *
   * @throws LessorError `WINDOW_SEALS` when the holder sealed or resized it; end the lease then.
   */
  connect(): Promise<void>;
  /** Resolves when the device can no longer see it: the cut for memfd windows. */
  detach(): Promise<void>;
  /** Revokes mappings. `orphan`: the deadline passed; the bytes stay with the holder, inert. */
  zap(deadlineMs: number): Promise<'gone' | 'orphan'>;
  /** Called when the holder truncated the window: its lease must end. */
  onTruncated(listener: () => void): Disposable;
}

export interface DmaPort {
  /** An address space of its own under a PASID, or the function's one shared space. */
  open(options: { readonly pasid: number | undefined }): Promise<AddressSpace>;
}

export interface DmaFault {
  /** PASID the device presented, undefined for none. */
  readonly pasid: number | undefined;
  readonly iova: number;
  readonly access: 'read' | 'write';
  readonly reason: FaultReason;
}

export type FunctionEvent =
  | { readonly type: 'fault'; readonly fault: DmaFault }
  | { readonly type: 'error'; readonly detail: string }
  /**
   * Nothing of the function can be reached, and nothing it was told holds any more: every lease
   * must be taken back. It may come `back`, or be `gone`.
   */
  | { readonly type: 'away'; readonly detail: string }
  /** The same device is there again, in a new epoch; to be reset before it is used. */
  | { readonly type: 'back'; readonly detail: string }
  | { readonly type: 'gone'; readonly detail: string };

export interface PciFunction extends AsyncDisposable {
  readonly info: FunctionInfo;
  /** Privileged register access, for drivers. */
  registers(region: number): Registers;
  openWindow(spec: BackingSpec, terms: WindowTerms): Promise<Window>;
  readonly dma: DmaPort;
  /**
   * Binds a vector to an eventfd, or unbinds it. Takes ownership of `target` in every outcome.
   * Unbinding resolves when no signal can be under way, then the descriptor is closed.
   */
  setInterrupt(vector: number, target: Fd | undefined): Promise<void>;
  /** Wakes a sleeping device after a doorbell that came by message. Cheap, never blocks. */
  kick(): void;
  /** Resets the function: epoch +1. The broker reclaims every lease around it. */
  reset(signal: AbortSignal): Promise<void>;
  onEvent(listener: (event: FunctionEvent) => void): Disposable;
}
