// The windows of a function in the kernel: mappings of its registers where the kernel can take them
// back, else by message; or of the device itself, for a process that gets it. A range is of one
// window at a time.
import { LessorError } from '../../base/errors.js';
import type { WindowMemory } from '../../base/labels.js';
import { VFIO_DMA_BUF_MEMATTR_WC } from '../../uapi/vfio-dma-buf.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, DeviceHolder, FunctionInfo, Window, WindowTerms } from '../types.js';
import { areMappable, checkApart, checkRanges } from '../window-ranges.js';
import { exportDmaBuf, setDmaBufMemory } from './dma-buf-calls.js';
import { type DmaBufOffer, offersKernelWindows } from './dma-buf-offer.js';
import { KernelWindow } from './kernel-window.js';
import { ProcessWindow } from './process-window.js';
import type { VfioDevice, VfioRegion } from './types.js';

export interface VfioWindowsParts {
  readonly device: VfioDevice;
  /** What the kernel does with the device's dma-bufs. */
  readonly offer: DmaBufOffer;
  /** The device's registers, for messages. */
  readonly access: DeviceAccess;
  readonly pageBytes: number;
  /** Address spaces of the function import dma-bufs: they are those of an iommufd. */
  readonly importable: boolean;
}

export class VfioWindows {
  readonly #parts: VfioWindowsParts;
  readonly #open = new Map<Window, BackingSpec>();
  /** Windows that are being made. */
  readonly #coming = new Map<BackingSpec, Promise<KernelWindow>>();
  #isOver = false;

  constructor(parts: VfioWindowsParts) {
    this.#parts = parts;
  }

  /**
   * Makes a window: `process` for a holder of the device, else `kernel` where all of it can be
   * mapped and taken back, else `mediated`.
   *
   * @throws LessorError `INVALID_ARGUMENT` for ranges that are no window, or part of another;
   *   `UNSUPPORTED` for what not even a holder of the device can map; `FUNCTION_GONE`; OsError of
   *   the export or a duplicate, `EMFILE` say
   */
  async open(
    spec: BackingSpec,
    info: FunctionInfo,
    { holder }: Pick<WindowTerms, 'holder'> = {},
  ): Promise<Window> {
    this.#checkLife();
    const lengthBytes = checkRanges(spec, info.regions, info.reserved);
    checkApart(spec, [...this.#open.values(), ...this.#coming.keys()]);
    if (holder !== undefined) return this.#openProcess(spec, lengthBytes, holder);
    if (!this.#isMappable(spec)) {
      const release = (which: MessageWindow): boolean => this.#open.delete(which);
      const window = new MessageWindow(spec, lengthBytes, this.#parts.access, release);
      this.#open.set(window, spec);
      return window;
    }
    const coming = this.#openKernel(spec, lengthBytes);
    this.#coming.set(spec, coming);
    try {
      return await coming;
    } finally {
      this.#coming.delete(spec);
    }
  }

  /** Cuts every window off: no mapping and no message reaches the device any more. */
  async cut(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((window) => window.detach()));
  }

  /** Takes back what its owners left behind, and what is being made. */
  async disposeAll(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#coming.values());
    await Promise.all([...this.#open.keys()].map((window) => window[Symbol.asyncDispose]()));
  }

  #checkLife(): void {
    if (this.#isOver) throw new LessorError('FUNCTION_GONE', 'the function was closed');
  }

  #isMappable(spec: BackingSpec): boolean {
    return offersKernelWindows(this.#parts.offer) && this.#regionOf(spec) !== undefined;
  }

  /** The region of ranges that are whole pages of what the device itself lets programs map. */
  #regionOf({ region, ranges }: BackingSpec): VfioRegion | undefined {
    const { device, pageBytes } = this.#parts;
    const found = device.regions.get(region);
    return areMappable(ranges, found?.mappable ?? [], pageBytes) ? found : undefined;
  }

  #openProcess(spec: BackingSpec, lengthBytes: number, holder: DeviceHolder): ProcessWindow {
    const { device, access } = this.#parts;
    const region = this.#regionOf(spec);
    if (region === undefined) {
      throw new LessorError('UNSUPPORTED', 'the device does not let these registers be mapped');
    }
    const window = new ProcessWindow({
      spec,
      lengthBytes,
      region,
      device: device.fd.duplicate(),
      holder,
      access,
      release: (which) => this.#open.delete(which),
    });
    this.#open.set(window, spec);
    return window;
  }

  async #openKernel(spec: BackingSpec, lengthBytes: number): Promise<KernelWindow> {
    const { device, offer, access, importable } = this.#parts;
    if (!offer.revoke.works) throw new LessorError('UNSUPPORTED', offer.revoke.reason);
    const buffer = await exportDmaBuf(device, spec);
    try {
      this.#checkLife();
      const wanted = spec.memory ?? 'device';
      let memory: WindowMemory = 'device';
      if (wanted === 'write-combining' && offer.memory.works) {
        const { feature } = offer.memory;
        await setDmaBufMemory(device, feature, buffer.number, VFIO_DMA_BUF_MEMATTR_WC);
        this.#checkLife();
        memory = wanted;
      }
      const window = new KernelWindow({
        device,
        spec,
        lengthBytes,
        buffer,
        memory,
        revokeFeature: offer.revoke.feature,
        access,
        importable,
        release: (which) => this.#open.delete(which),
      });
      this.#open.set(window, spec);
      return window;
    } catch (error) {
      // Nobody but this process has had it.
      buffer.close();
      throw error;
    }
  }
}
