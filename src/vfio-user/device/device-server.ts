// Serves a device on a socket path, or on sockets that are already connected: one client at a
// time, the next one waits.
import { limits } from '../../base/limits.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { GiB, toCount } from '../../base/units.js';
import type { PciDevice } from '../../device/types.js';
import { createOs } from '../../os/os.js';
import type { Os } from '../../os/os-types.js';
import type { ListenerSocket, StreamOptions, StreamSocket } from '../../os/socket-types.js';
import { serveVfioUser, type VfioUserConnection } from '../server.js';
import type { Capabilities } from '../version.js';
import { ServedDevice } from './served-device.js';
import { createEndpoint } from './served-endpoint.js';

/** What serving needs of the operating system. */
export type ServeOs = Pick<Os, 'memory' | 'events' | 'clock' | 'sockets'>;

export interface ServeDeviceOptions {
  /** Where to listen. Absent: only sockets given to `attach` are served. */
  readonly path?: string;
  /** Mode of the socket file. Default 0600: whoever connects drives the device. */
  readonly mode?: number;
  /** Default: that of this machine. */
  readonly os?: ServeOs;
  readonly log?: Logger;
  /** Shows in log lines and in the names of memory objects; default `device`. */
  readonly name?: string;
  /**
   * `direct` (default): memory that comes with a descriptor is placed in this process, the rest is
   * reached by message. `message`: none is placed, and the device has no `bus.direct`.
   */
  readonly dma?: 'direct' | 'message';
  /** Bytes of client memory that may be placed; default 3 GiB, at most 4 GiB. */
  readonly arenaBytes?: number;
  /** How long an idle device keeps looking before it sleeps; default 200, at most a second. */
  readonly idleSpinMicros?: number;
  /** For clients that are not trusted: how their descriptors are received. */
  readonly screen?: NonNullable<StreamOptions['screen']>;
  readonly capabilities?: Partial<Capabilities>;
  /**
   * Shows one more region, device-specific, by which a broker gives single frames memory of its
   * own and takes it away again. Default false.
   */
  readonly detachableWindows?: boolean;
  /**
   * Told of an error that the device should not have thrown, after its client was closed. The
   * device is served no more. Absent: it is thrown on, to end the process.
   */
  readonly onBug?: (error: unknown) => void;
}

/** A device that is being served. */
export interface DeviceServer extends AsyncDisposable {
  /** Where it listens. */
  readonly path: string | undefined;
  /** A client has negotiated. */
  readonly hasClient: boolean;
  /** Clients that wait for the one before them to go. */
  readonly waitingCount: number;
  /**
   * Serves a connected socket, after those that came before it. Its ownership passes; it is closed
   * at once when the server is closed or `limits.vfioUserWaitingClientsMax` wait already.
   *
   * @param socket - Not yet started.
   */
  attach(socket: StreamSocket): void;
  /** Closes client and listener, and gives everything back. The device has no further call. */
  [Symbol.asyncDispose](): Promise<void>;
}

const arenaBytesMax = 4 * GiB;
const arenaBytesDefault = 3 * GiB;
const idleSpinMicrosDefault = 200;
const idleSpinMicrosMax = 1_000_000;

class Server implements DeviceServer {
  readonly #options: ServeDeviceOptions;
  readonly #os: ServeOs;
  readonly #log: Logger;
  readonly #served: ServedDevice;
  readonly #listener: ListenerSocket | undefined;
  readonly #waiting: StreamSocket[] = [];
  #connection: VfioUserConnection | undefined;
  #deadline: Disposable | undefined;
  /** The last client's things are being dropped. */
  #parting: Promise<void> | undefined;
  #isClosed = false;

  constructor(device: PciDevice, options: ServeDeviceOptions) {
    const { name = 'device', dma = 'direct', path, mode = 0o600 } = options;
    const spinMicros = options.idleSpinMicros ?? idleSpinMicrosDefault;
    this.#options = options;
    this.#os = options.os ?? createOs();
    this.#log = options.log ?? silentLogger;
    this.#served = new ServedDevice(device, {
      os: this.#os,
      name,
      log: this.#log,
      dma,
      arenaBytes: toCount(options.arenaBytes ?? arenaBytesDefault, 'arenaBytes', arenaBytesMax),
      idleSpinMs: toCount(spinMicros, 'idleSpinMicros', idleSpinMicrosMax) / 1000,
      detachableWindows: options.detachableWindows ?? false,
      onBug: (error) => this.#bug(error),
    });
    if (path === undefined) return;
    try {
      const { sockets } = this.#os;
      this.#listener = sockets.listen(path, mode, (socket) => this.attach(socket));
    } catch (error) {
      this.#served[Symbol.dispose]();
      throw error;
    }
  }

  get path(): string | undefined {
    return this.#listener?.path;
  }

  get hasClient(): boolean {
    return this.#connection?.peer !== undefined;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  attach(socket: StreamSocket): void {
    if (this.#isClosed || this.#waiting.length >= limits.vfioUserWaitingClientsMax) {
      socket[Symbol.dispose]();
      return;
    }
    this.#waiting.push(socket);
    this.#next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) this.#close();
    await this.#parting;
  }

  /** Takes up the client that has waited longest. */
  #next(): void {
    if (this.#connection !== undefined || this.#parting !== undefined || this.#isClosed) return;
    const socket = this.#waiting.shift();
    if (socket === undefined) return;
    const { screen, capabilities } = this.#options;
    const endpoint = createEndpoint(this.#served, {
      onOpened: () => this.#opened(),
      onClosed: (error) => this.#closed(error),
    });
    const connection = serveVfioUser(socket, endpoint, {
      clock: this.#os.clock,
      ...(screen === undefined ? {} : { screen }),
      ...(capabilities === undefined ? {} : { capabilities }),
      onBug: (error) => this.#bug(error),
    });
    if (!connection.isOpen) return;
    this.#connection = connection;
    this.#deadline = this.#os.clock.after(limits.vfioUserNegotiationMsMax, () => {
      if (connection.peer !== undefined) return;
      this.#log.info('client did not negotiate', this.#fields());
      connection.close();
    });
  }

  #opened(): void {
    this.#deadline?.[Symbol.dispose]();
    this.#log.debug('client negotiated', this.#fields());
  }

  /** The connection is over: its things are dropped, then the next client has its turn. */
  #closed(error: Error | undefined): void {
    this.#deadline?.[Symbol.dispose]();
    this.#connection = undefined;
    if (error !== undefined) {
      this.#log.info('client ended', { ...this.#fields(), detail: error.message });
    }
    this.#parting = this.#served.closed().finally(() => {
      this.#parting = undefined;
      if (this.#isClosed) this.#served[Symbol.dispose]();
      else this.#next();
    });
  }

  #close(): void {
    this.#isClosed = true;
    this.#served.loop[Symbol.dispose]();
    this.#listener?.[Symbol.dispose]();
    for (const socket of this.#waiting.splice(0)) socket[Symbol.dispose]();
    this.#connection?.close();
    if (this.#parting === undefined) this.#served[Symbol.dispose]();
  }

  #bug(error: unknown): void {
    if (!this.#isClosed) this.#close();
    const { onBug } = this.#options;
    if (onBug === undefined) throw error;
    onBug(error);
  }

  #fields() {
    return { device: this.#options.name ?? 'device' };
  }
}

/**
 * Serves a device over vfio-user, to one client at a time. It runs on this event loop, in turns
 * with others; a client that goes away leaves it ready for the next.
 *
 * @param device - Not yet attached. It keeps its state from client to client.
 * @throws LessorError `INVALID_ARGUMENT` for options out of range, or a device whose description
 *   cannot be shown; OsError of the listening socket.
 */
export async function serveDevice(
  device: PciDevice,
  options: ServeDeviceOptions = {},
): Promise<DeviceServer> {
  return new Server(device, options);
}
