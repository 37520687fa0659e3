// What a Queue needs from a lease. The SDK's Lease fits; so does anything else with this shape.
import type { Clock } from '../../base/clock.js';

/** Exactly one register access each: through the mapping where there is one, else by message. */
export interface LeaseRegisters {
  read32(offsetBytes: number): Promise<number>;
  write32(offsetBytes: number, value: number): Promise<void>;
  /**
   * Sends a write by message before it returns, mapped or not, and hears nothing of it again. The
   * broker sees it, and wakes a device that sleeps when the register is a doorbell. In order with
   * other messages. A client that spins and never enters its event loop can still send it.
   */
  postMessage32(offsetBytes: number, value: number): void;
}

export interface MappedLeaseWindow extends LeaseRegisters {
  readonly kind: 'mapped';
  /** The window's words from its first byte. Reads all ones once it was revoked. */
  readonly u32: Uint32Array;
  /** Set when the window was revoked and touched since. A plain load. */
  readonly revoked: boolean;
}

export interface MessageLeaseWindow extends LeaseRegisters {
  readonly kind: 'message';
}

export type LeaseWindow = MappedLeaseWindow | MessageLeaseWindow;

/** Memory of this process that the device can reach. Whoever allocated it disposes it. */
export interface LeaseMemory extends AsyncDisposable {
  /** First byte as the device sees it; page-aligned. */
  readonly iova: number;
  readonly lengthBytes: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
}

export interface LeaseInterrupt {
  /**
   * Resolves when the interrupt fired since the last `wait` resolved, when the lease ended, or
   * after `timeoutMs`, whichever is first. Never rejects.
   */
  wait(timeoutMs: number): Promise<void>;
}

export interface QueueLease {
  /** @throws LessorError `INVALID_ARGUMENT` when the lease has no window of that name. */
  window(name: string): LeaseWindow;
  readonly memory: {
    /** Allocates zeroed memory and maps it for the device, readable and writable. */
    allocate(lengthBytes: number): Promise<LeaseMemory>;
  };
  /** @param index - Of the lease's vectors, from 0. */
  interrupt(index: number): LeaseInterrupt;
  /** The lease has ended or its connection is gone. A plain load. */
  readonly closed: boolean;
  /** Calls back once when the lease ends, for whatever reason; at once when it has. */
  onClosed(listener: () => void): Disposable;
  readonly clock: Clock;
}
