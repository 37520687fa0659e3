// The vfio-user device that a lease is: what its holder reads, writes, maps and binds.
import { isLessorError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { type CommandChange, ConfigSpace } from '../device/config-space.js';
import { closeAll, type Fd } from '../os/fd.js';
import {
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_REQ_IRQ_INDEX,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/vfio.js';
import type {
  DmaMapRequest,
  DmaRange,
  EndpointIrq,
  EndpointRegion,
  IrqChange,
  VfioUserEndpoint,
} from '../vfio-user/endpoint.js';
import type { BrokerContext } from './context.js';
import { DoorbellWatch } from './doorbell-watch.js';
import { KickLimiter } from './kick-limiter.js';
import { msixTableBytes, type PlacedWindow, resolveAccess } from './layout.js';
import type { BrokerLease } from './lease.js';
import type { LeaseTerms } from './lease-terms.js';
import { readRegister, writeRegister } from './register-bytes.js';

const configBytes = 256;
/** How long a guest's doorbell may wait for a device that sleeps. */
const doorbellWatchMs = 4;

export interface EndpointEvents {
  /** The holder negotiated. */
  readonly onOpened?: () => void;
  /** The connection is over. `farewell`: the holder had cleared COMMAND, as one that is done. */
  readonly onEndOfFile: (farewell: boolean) => void;
}

/**
 * A guest that stores into a page which its VM monitor could map for reading alone takes the
 * monitor down (SIGSEGV), so read-only windows of a listen lease are reached by message.
 */
function isShownMapped({ listen, mapped }: LeaseTerms, writable: boolean): boolean {
  return mapped && (writable || !listen);
}

function shownRegions({ terms, resources }: BrokerLease): EndpointRegion[] {
  const { layout } = terms;
  const shown: EndpointRegion[] = [];
  for (let index = 0; index < VFIO_PCI_NUM_REGIONS; index += 1) {
    const region = layout.regions[index];
    if (region === undefined) {
      shown.push({ lengthBytes: 0, flags: 0 });
      continue;
    }
    const write = region.writable ? VFIO_REGION_INFO_FLAG_WRITE : 0;
    const backing = isShownMapped(terms, region.writable) ? region.mappedBacking : undefined;
    const { regionOffsetBytes: fdOffsetBytes = 0 } = resources.windows[backing ?? -1] ?? {};
    shown.push({
      lengthBytes: region.lengthBytes,
      flags: VFIO_REGION_INFO_FLAG_READ | write,
      ...(backing === undefined ? {} : { areas: region.areas, fdOffsetBytes }),
    });
  }
  shown[VFIO_PCI_CONFIG_REGION_INDEX] = {
    lengthBytes: configBytes,
    flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
  };
  return shown;
}

function shownIrqs(vectorCount: number): EndpointIrq[] {
  const irqs: EndpointIrq[] = Array.from({ length: VFIO_PCI_NUM_IRQS }, () => ({
    count: 0,
    flags: VFIO_IRQ_INFO_EVENTFD,
  }));
  irqs[VFIO_PCI_MSIX_IRQ_INDEX] = {
    count: vectorCount,
    flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
  };
  // Never fires. QEMU warns its users of a device without it.
  irqs[VFIO_PCI_ERR_IRQ_INDEX] = { count: 1, flags: VFIO_IRQ_INFO_EVENTFD };
  irqs[VFIO_PCI_REQ_IRQ_INDEX] = { count: 1, flags: VFIO_IRQ_INFO_EVENTFD };
  return irqs;
}

export class LeaseEndpoint implements VfioUserEndpoint {
  readonly regions: readonly EndpointRegion[];
  readonly irqs: readonly EndpointIrq[];
  readonly #context: BrokerContext;
  readonly #lease: BrokerLease;
  readonly #events: EndpointEvents;
  readonly #config: ConfigSpace;
  readonly #msixTable: Uint8Array;
  readonly #kicks: KickLimiter;
  readonly #vectorCount: number;
  readonly #explained = new Set<string>();
  /** For guests, whose mapped doorbells nobody hears. */
  readonly #doorbells: DoorbellWatch | undefined;

  constructor(context: BrokerContext, lease: BrokerLease, events: EndpointEvents) {
    const { info } = context.fn;
    const { layout, vectorList, mapped } = lease.terms;
    this.#context = context;
    this.#lease = lease;
    this.#events = events;
    this.#vectorCount = vectorList.length;
    this.#kicks = new KickLimiter(context.os.clock, limits.kicksPerSecondMax);
    if (lease.terms.listen && mapped) {
      this.#doorbells = new DoorbellWatch(context.os.clock, doorbellWatchMs, () => this.#kick());
    }
    this.#msixTable = new Uint8Array(msixTableBytes(vectorList.length));
    this.regions = shownRegions(lease);
    this.irqs = shownIrqs(vectorList.length);
    this.#config = new ConfigSpace({
      ...info,
      vectorCount: vectorList.length,
      ...(layout.msix === undefined ? {} : { msix: layout.msix }),
      bars: layout.regions.flatMap((region) => (region === undefined ? [] : [region])),
      vendorCapabilities: [layout.capability],
    });
  }

  opened(): void {
    this.#events.onOpened?.();
  }

  regionFd(region: number): Fd | undefined {
    const { terms } = this.#lease;
    const shown = terms.layout.regions[region];
    const backing = shown?.mappedBacking;
    if (backing === undefined || !isShownMapped(terms, shown?.writable ?? false)) return undefined;
    return this.#lease.resources.giveWindow(backing);
  }

  read(region: number, offsetBytes: number, lengthBytes: number): Uint8Array | Promise<Uint8Array> {
    if (region === VFIO_PCI_CONFIG_REGION_INDEX) return this.#config.read(offsetBytes, lengthBytes);
    const hit = this.#resolve(region, offsetBytes, lengthBytes);
    switch (hit.type) {
      case 'msixTable':
        return this.#msixTable.slice(hit.offsetBytes, hit.offsetBytes + lengthBytes);
      case 'pba':
        return new Uint8Array(lengthBytes);
      case 'hole':
        return new Uint8Array(lengthBytes).fill(0xff);
      default:
        this.#lease.checkUse('access');
        if (!this.#isDecoding()) return new Uint8Array(lengthBytes).fill(0xff);
        return readRegister(
          this.#registersOf(hit.window),
          hit.window.backingOffsetBytes + hit.offsetBytes,
          lengthBytes,
        );
    }
  }

  write(region: number, offsetBytes: number, bytes: Uint8Array): void | Promise<void> {
    if (region === VFIO_PCI_CONFIG_REGION_INDEX) {
      return this.#commandChanged(this.#config.write(offsetBytes, bytes));
    }
    const hit = this.#resolve(region, offsetBytes, bytes.length);
    if (hit.type === 'msixTable') this.#msixTable.set(bytes, hit.offsetBytes);
    if (hit.type !== 'window') return undefined;
    const { spec, backingOffsetBytes } = hit.window;
    if (spec.access === 'read') {
      throw new LessorError('WINDOW_READ_ONLY', `window ${spec.name} is read-only`);
    }
    this.#lease.checkUse('access');
    if (!this.#isDecoding()) return undefined;
    return this.#writeWindow(hit.window, backingOffsetBytes, hit.offsetBytes, bytes);
  }

  async dmaMap(request: DmaMapRequest): Promise<void> {
    try {
      await this.#map(request);
    } catch (error) {
      this.#explain(error);
      throw error;
    }
  }

  #map(request: DmaMapRequest): Promise<void> {
    const { readable, writable, fd } = request;
    try {
      this.#lease.checkUse('map');
      if (!readable && !writable) {
        throw new LessorError('INVALID_ARGUMENT', 'a map that is neither readable nor writable');
      }
    } catch (error) {
      fd?.close();
      throw error;
    }
    return this.#lease.resources.dma.map({
      iova: request.iova,
      lengthBytes: request.lengthBytes,
      offsetBytes: request.offsetBytes,
      access: readable && writable ? 'read-write' : readable ? 'read' : 'write',
      fd,
    });
  }

  /** A VM monitor shows an errno at most: its operator is told the rest, once for each code. */
  #explain(error: unknown): void {
    if (!this.#lease.terms.listen || !isLessorError(error) || this.#explained.has(error.code))
      return;
    this.#explained.add(error.code);
    this.#lease.publish({ type: 'refused', reason: `${error.message}: ${error.hint}` });
  }

  dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    this.#lease.checkUse('unmap');
    const { dma } = this.#lease.resources;
    return range === 'all' ? dma.unmapAll() : dma.unmap(range.iova, range.lengthBytes);
  }

  setIrqs(change: IrqChange): void | Promise<void> {
    const { interrupts } = this.#lease.resources;
    if (change.index === VFIO_PCI_ERR_IRQ_INDEX) {
      if (change.action === 'bind') closeAll(change.fds);
      return undefined;
    }
    const isRequest = change.index === VFIO_PCI_REQ_IRQ_INDEX;
    switch (change.action) {
      case 'bind':
        return this.#bind(change.start, change.fds, isRequest);
      case 'unbind':
        if (isRequest) return interrupts.bindRequest(undefined);
        return interrupts.unbind(change.start, change.count);
      case 'disable':
        if (isRequest) return interrupts.bindRequest(undefined);
        return interrupts.unbind(0, interrupts.count);
      case 'trigger':
        return interrupts.trigger(this.#context.signaller, change.vectors, isRequest);
      default:
        throw new LessorError('UNSUPPORTED', `${change.action} of an edge interrupt`);
    }
  }

  /** Resets the slice; maps and interrupts stay, the windows stay connected. */
  async reset(): Promise<void> {
    this.#lease.checkUse('reset');
    this.#config.reset();
    this.#doorbells?.set(false);
    await this.#lease.terms.slice.permitDma?.(false);
    const { clock } = this.#context.os;
    const abort = new AbortController();
    const { resetSliceMs } = this.#context.deadlines;
    const timer = clock.after(resetSliceMs, () => abort.abort());
    try {
      const outcome = await this.#lease.terms.slice.reset(abort.signal);
      if (outcome === 'busy') {
        throw new LessorError('DEADLINE_EXCEEDED', 'the slice did not become idle');
      }
    } finally {
      timer[Symbol.dispose]();
    }
  }

  closed(error: Error | undefined): void {
    this.#kicks[Symbol.dispose]();
    this.#doorbells?.[Symbol.dispose]();
    if (error !== undefined) {
      this.#context.log.info('lease fd ended', {
        lease: this.#lease.terms.id,
        detail: error.message,
      });
    }
    this.#events.onEndOfFile(
      error === undefined && !this.#config.memoryEnabled && !this.#config.busMaster,
    );
  }

  #resolve(region: number, offsetBytes: number, lengthBytes: number) {
    const { layout } = this.#lease.terms;
    const hit = resolveAccess(layout, this.#vectorCount, region, offsetBytes, lengthBytes);
    if (hit.type !== 'invalid') return hit;
    const what = `${lengthBytes} bytes at ${offsetBytes} of region ${region}`;
    throw new LessorError('INVALID_ARGUMENT', `${what} are no single register access`);
  }

  /** With memory space off, as holders may have it after `enable`, BARs are not decoded. */
  #isDecoding(): boolean {
    return this.#config.memoryEnabled;
  }

  #registersOf(window: PlacedWindow) {
    const backing = this.#lease.resources.windows[window.backing];
    if (backing === undefined) throw new LessorError('LEASE_ENDED', 'the windows are gone');
    return backing.registers;
  }

  async #writeWindow(
    window: PlacedWindow,
    backingOffsetBytes: number,
    offsetBytes: number,
    bytes: Uint8Array,
  ): Promise<void> {
    await writeRegister(this.#registersOf(window), backingOffsetBytes + offsetBytes, bytes);
    const end = offsetBytes + bytes.length;
    const rings = window.spec.doorbells?.some(
      (doorbell) =>
        offsetBytes < doorbell.offsetBytes + doorbell.lengthBytes && end > doorbell.offsetBytes,
    );
    if (!rings) return;
    this.#kicks.run(() => this.#kick());
  }

  /** @returns False when the lease is over. */
  #kick(): boolean {
    this.#lease.terms.slice.kick?.();
    this.#context.fn.kick();
    return this.#lease.state.name === 'active' || this.#lease.state.name === 'revoking';
  }

  async #bind(start: number, fds: readonly Fd[], isRequest: boolean): Promise<void> {
    try {
      this.#lease.checkUse('bindInterrupt');
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    const { interrupts } = this.#lease.resources;
    if (isRequest) interrupts.bindRequest(fds[0]);
    else await interrupts.bind(start, fds);
  }

  #commandChanged(change: CommandChange): void | Promise<void> {
    const { slice } = this.#lease.terms;
    if (change.memoryEnabled === undefined && change.busMaster === undefined) return undefined;
    const permit = async (): Promise<void> => {
      if (change.busMaster !== undefined) await slice.permitDma?.(change.busMaster);
      this.#doorbells?.set(this.#config.memoryEnabled && this.#config.busMaster);
    };
    if (change.memoryEnabled === true && this.#lease.state.enabled !== true) {
      return this.#lease.enable().then(permit);
    }
    return permit();
  }
}
