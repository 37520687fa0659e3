// A window that is the device's own registers: one dma-buf of the ranges, which the kernel takes
// back from every mapping and importer at once.
import { isLessorError, isOsError, LessorError } from '../../base/errors.js';
import type { WindowMemory } from '../../base/labels.js';
import type { DmaMemory } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, Registers, Window } from '../types.js';
import { revokeDmaBuf } from './dma-buf-calls.js';
import type { VfioDevice } from './types.js';

export interface KernelWindowParts {
  readonly device: VfioDevice;
  readonly spec: BackingSpec;
  readonly lengthBytes: number;
  /** The dma-buf. Owned by the window. */
  readonly buffer: Fd;
  readonly memory: WindowMemory;
  /** Number of the feature that revokes, in this kernel. */
  readonly revokeFeature: number;
  readonly access: DeviceAccess;
  /** Devices of this function can import dma-bufs. */
  readonly importable: boolean;
  /** Called once, when nothing reaches the ranges through this window any more. */
  readonly release: (window: KernelWindow) => void;
}

/**
 * Whoever maps the descriptor reaches the device from then on, until `detach`: registers have no
 * memory to stand in for them, so nothing is joined by `connect`, which opens the way by message.
 * What keeps the promises is where the descriptor is:
 *
 * - It leaves the broker with the lease, after `Slice.grant` has resolved. Until then nobody but
 *   the broker has it, so no client reaches a slice that is not its own yet; and from the grant on
 *   the slice may run: what it reads and writes by DMA is what its lease has mapped, whether the
 *   lease is enabled or not.
 * - `detach` resolves after the kernel took all mappings and importers away, also from a window
 *   that was never connected, and every reclaim passes through it. Quiesce comes after.
 *
 * A reset of the function takes the mappings away for as long as it lasts; the broker detaches
 * the windows before it starts one.
 */
export class KernelWindow implements Window {
  readonly revocation = 'kernel';
  readonly isDmaTarget: boolean;
  readonly lengthBytes: number;
  readonly memory: WindowMemory;
  readonly registers: Registers;
  readonly #parts: KernelWindowParts;
  readonly #messages: MessageWindow;
  #state: 'open' | 'connected' | 'detached' = 'open';
  #detaching: Promise<void> | undefined;
  #disposing: Promise<void> | undefined;

  constructor(parts: KernelWindowParts) {
    const { spec, lengthBytes, access, memory, importable } = parts;
    this.#parts = parts;
    this.lengthBytes = lengthBytes;
    this.memory = memory;
    // Of several ranges the kernel's IOMMU takes none.
    this.isDmaTarget = importable && spec.ranges.length === 1;
    this.#messages = new MessageWindow(spec, lengthBytes, access, () => undefined);
    this.registers = this.#messages.registers;
  }

  get fd(): Fd {
    return this.#parts.buffer;
  }

  get dmaMemory(): DmaMemory | undefined {
    if (this.#state !== 'connected' || !this.isDmaTarget) return undefined;
    return { fd: this.#parts.buffer, offsetBytes: 0 };
  }

  /** Nothing of it can be sealed or resized: never `WINDOW_SEALS`. */
  async connect(): Promise<void> {
    if (this.#state === 'detached') {
      throw new LessorError('WINDOW_REVOKED', 'the window was detached');
    }
    this.#state = 'connected';
    await this.#messages.connect();
  }

  /** The cut: resolves when the kernel has taken it back everywhere. May be tried again. */
  detach(): Promise<void> {
    this.#state = 'detached';
    this.#detaching ??= this.#detach().catch((error: unknown) => {
      this.#detaching = undefined;
      throw error;
    });
    return this.#detaching;
  }

  /** The cut took the mappings too. */
  async zap(): Promise<'gone'> {
    await this.detach();
    return 'gone';
  }

  /** A dma-buf has the length that it was made with: never called. */
  onTruncated(): Disposable {
    return { [Symbol.dispose]() {} };
  }

  /** Where it cannot be taken back, the descriptor stays for another try. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose().catch((error: unknown) => {
      this.#disposing = undefined;
      throw error;
    });
    return this.#disposing;
  }

  async #detach(): Promise<void> {
    await Promise.all([this.#messages.detach(), this.#revoke()]);
  }

  async #revoke(): Promise<void> {
    const { device, revokeFeature, buffer } = this.#parts;
    try {
      await revokeDmaBuf(device, revokeFeature, buffer.number);
    } catch (error) {
      if (!isRevokedAlready(error)) throw error;
    }
  }

  async #dispose(): Promise<void> {
    await this.detach();
    this.#parts.buffer.close();
    this.#parts.release(this);
  }
}

/** Closing the device takes all its dma-bufs back, for good. */
function isRevokedAlready(error: unknown): boolean {
  return (
    isOsError(error, 'EBADFD') ||
    isOsError(error, 'ENODEV') ||
    isLessorError(error, 'FUNCTION_GONE')
  );
}
