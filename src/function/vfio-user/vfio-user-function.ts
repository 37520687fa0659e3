// A PciFunction that another process serves. This process keeps nothing of the server's in its
// memory and takes no descriptor from it: registers are messages, DMA is the server's, and the
// memory of windows is made here.
import { LessorError, type OsError } from '../../base/errors.js';
import { Listeners } from '../../base/listeners.js';
import type { Logger } from '../../base/log.js';
import type { Value, Width } from '../../device/types.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { MemoryOs } from '../../os/memory-types.js';
import type { VfioUserClient } from '../../vfio-user/client.js';
import type { ReconnectEvent, ReconnectingClient } from '../../vfio-user/reconnect.js';
import type { DeviceAccess } from '../message-window.js';
import { createRegisters } from '../register-access.js';
import type {
  BackingSpec,
  DmaPort,
  FunctionEvent,
  FunctionInfo,
  PciFunction,
  Registers,
  Window,
} from '../types.js';
import { enableFunction } from './command-register.js';
import type { DeviceFacts } from './device-facts.js';
import { ServedSpace } from './served-space.js';
import { ServedWindows } from './served-windows.js';
import type { WindowOffer } from './window-region.js';

export interface VfioUserFunctionParts {
  /** Connected, and owned from here on. */
  readonly client: ReconnectingClient;
  readonly facts: DeviceFacts;
  /** What the server has for windows with memory; undefined: nothing. */
  readonly offer: WindowOffer | undefined;
  readonly helpers: HelperPool;
  readonly memory: MemoryOs;
  readonly events: EventOs;
  readonly log: Logger;
  /** For one DEVICE_RESET. */
  readonly resetMs: number;
}

function read(
  client: VfioUserClient,
  region: number,
  offsetBytes: number,
  width: Width,
): Promise<Value> {
  if (width === 4) return client.read32(region, offsetBytes);
  if (width === 8) return client.read64(region, offsetBytes);
  return width === 2 ? client.read16(region, offsetBytes) : client.read8(region, offsetBytes);
}

function write(
  client: VfioUserClient,
  region: number,
  offsetBytes: number,
  width: Width,
  value: Value,
): Promise<void> {
  if (width === 8) return client.write64(region, offsetBytes, BigInt(value));
  const number = Number(value);
  if (width === 4) return client.write32(region, offsetBytes, number);
  if (width === 2) return client.write16(region, offsetBytes, number);
  return client.write8(region, offsetBytes, number);
}

export class VfioUserFunction implements PciFunction {
  readonly dma: DmaPort;
  readonly #parts: VfioUserFunctionParts;
  readonly #access: DeviceAccess;
  readonly #windows: ServedWindows;
  readonly #space: ServedSpace;
  readonly #events = new Listeners<FunctionEvent>();
  #info: FunctionInfo;
  #disposing: Promise<void> | undefined;

  constructor(parts: VfioUserFunctionParts) {
    const { client, facts, memory } = parts;
    const { name, iovaPageBytes: pageBytes, aperture } = facts.info;
    this.#parts = parts;
    this.#info = facts.info;
    this.#access = {
      read: (...place) => client.run((device) => read(device, ...place)),
      write: (...place) => client.run((device) => write(device, ...place)),
    };
    this.#windows = new ServedWindows({ ...parts, name, device: this.#access });
    this.#space = new ServedSpace({ client, memory, pageBytes, aperture });
    this.dma = {
      open: async ({ pasid }) => {
        this.#checkPresent();
        return this.#space.open(pasid);
      },
    };
    client.onEvent((event) => this.#onClient(event));
  }

  get info(): FunctionInfo {
    return this.#info;
  }

  registers(region: number): Registers {
    const found = this.#info.regions.find((candidate) => candidate.index === region);
    if (!found) throw new LessorError('INVALID_ARGUMENT', `the function has no region ${region}`);
    return createRegisters(found.lengthBytes, {
      read: (offsetBytes, width) => this.#access.read(region, offsetBytes, width),
      write: (offsetBytes, width, value) => this.#access.write(region, offsetBytes, width, value),
    });
  }

  async openWindow(spec: BackingSpec, { uid }: { readonly uid: number }): Promise<Window> {
    this.#checkPresent();
    return this.#windows.open(spec, this.#info, uid);
  }

  async setInterrupt(vector: number, target: Fd | undefined): Promise<void> {
    const { client, events, facts } = this.#parts;
    const { vectorCount } = this.#info;
    if (!Number.isInteger(vector) || vector < 0 || vector >= vectorCount) {
      target?.close();
      throw new LessorError('INVALID_ARGUMENT', `vector ${vector} of ${vectorCount}`);
    }
    const place = { index: facts.irqIndex, start: vector };
    if (target === undefined) {
      await client.setIrqs({ action: 'unbind', ...place, count: 1 });
      return;
    }
    if (!events.isEventFd(target)) {
      target.close();
      throw new LessorError('FD_REFUSED', 'an interrupt target is not an eventfd');
    }
    await client.setIrqs({ action: 'bind', ...place, fds: [target] });
  }

  /** A doorbell that came by message woke the server itself; one in mapped memory did not. */
  kick(): void {
    this.#windows.wake();
  }

  async reset(signal: AbortSignal): Promise<void> {
    this.#checkPresent();
    const { client, resetMs } = this.#parts;
    this.#info = { ...this.#info, epoch: this.#info.epoch + 1 };
    const late = (): void =>
      client.giveUp(new LessorError('DEADLINE_EXCEEDED', 'the server did not reset in time'));
    signal.addEventListener('abort', late, { once: true });
    try {
      // Maps and interrupts outlast it, the command register does not.
      await client.run((device) => device.reset(resetMs));
      await client.run(enableFunction);
    } finally {
      signal.removeEventListener('abort', late);
    }
  }

  onEvent(listener: (event: FunctionEvent) => void): Disposable {
    return this.#events.add(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    this.#parts.client.close();
    await this.#windows.disposeAll();
  }

  #checkPresent(): void {
    const { state } = this.#parts.client;
    if (state === 'lost') throw new LessorError('SERVER_GONE', 'the server is away');
    if (state === 'ended') throw new LessorError('FUNCTION_GONE', 'the server is gone');
  }

  #onClient(event: ReconnectEvent): void {
    const { log } = this.#parts;
    const { name } = this.#info;
    switch (event.type) {
      case 'lost': {
        const detail = `the server is away: ${describe(event.error)}`;
        log.warn('function away', { name, detail });
        this.#forget();
        this.#events.emit({ type: 'away', detail });
        break;
      }
      case 'restored': {
        const detail = `the server is back after ${Math.round(event.outageMs)} ms`;
        this.#info = { ...this.#info, epoch: this.#info.epoch + 1 };
        log.warn('function back', { name, detail });
        this.#events.emit({ type: 'back', detail });
        break;
      }
      default: {
        const detail = event.error.message;
        log.error('function gone', { name, detail });
        this.#events.emit({ type: 'gone', detail });
      }
    }
  }

  /** What leases had of the server is void: it may come back, but not for them. */
  #forget(): void {
    this.#space.lose();
    // Detached at once; what was under way has failed with the connection.
    void this.#windows.cut();
  }
}

function describe(error: Error | OsError | undefined): string {
  return error === undefined ? 'it closed the connection' : error.message;
}
