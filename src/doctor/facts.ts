// What is gathered for the checks, of the machine and of a function.
import type { DmaBufOffer } from '../function/vfio/dma-buf-offer.js';
import type { NodeHolder } from '../function/vfio/node-holders.js';
import type { FunctionFacts } from '../function/vfio/sysfs-function.js';

/** Something that works, or why it does not. */
export type Tried = { readonly works: true } | { readonly works: false; readonly reason: string };

/** A file in /dev. */
export interface NodeFacts {
  readonly path: string;
  /** Undefined: there is none. */
  readonly owner: { readonly mode: number; readonly uid: number; readonly gid: number } | undefined;
  /** The errno with which it could not be opened, for reading and writing; undefined: it could. */
  readonly refused: string | undefined;
}

export interface MachineFacts {
  readonly nodeVersion: string;
  /** As `uname -r` says. */
  readonly kernelRelease: string;
  readonly uid: number;
  readonly pidfd: Tried;
  /** A function in software came up and answered. */
  readonly emulated: Tried;
  /** Names in /sys/class/iommu: `dmar0`. */
  readonly iommus: readonly string[];
  readonly groupCount: number;
  readonly hasVfioPci: boolean;
  readonly iommufd: NodeFacts;
  readonly container: NodeFacts;
  /** What the table of interrupts shows; undefined where it does not show it. */
  readonly interruptsRemapped: boolean | undefined;
  /** Modules that take functions whose interrupts are not remapped. */
  readonly unsafeInterrupts: readonly string[];
  /** RLIMIT_MEMLOCK; Infinity without one. */
  readonly memlockBytes: number;
  /** CAP_IPC_LOCK where the kernel looks for it: no limit counts. */
  readonly mayLockAll: boolean;
  readonly kernelLog: Tried;
  readonly hugePages: { readonly count: number; readonly sizeBytes: number };
}

/** What only shows once a function is open. */
export interface HeldFacts {
  readonly way: 'iommufd' | 'container';
  readonly pasidBits: number;
  /** The highest address that its DMA reaches. */
  readonly lastIova: bigint;
  readonly canReset: boolean;
  /** Interrupts it can send in clients' eventfds. */
  readonly vectorCount: number;
  readonly dmaBufs: DmaBufOffer;
}

/** What became of opening a function to look at it. */
export type Held =
  | { readonly type: 'held'; readonly facts: HeldFacts }
  /** Somebody else has it; nothing was tried, or the kernel said so. */
  | { readonly type: 'in-use' }
  | { readonly type: 'refused'; readonly reason: string; readonly hint: string | undefined };

export interface FunctionSituation {
  readonly address: string;
  /** Undefined: there is no such function. */
  readonly facts: FunctionFacts | undefined;
  /** What opens it, when a VFIO driver has it. */
  readonly node: NodeFacts | undefined;
  readonly holders: readonly NodeHolder[];
  /** Undefined: it cannot be opened as it is. */
  readonly held: Held | undefined;
}
