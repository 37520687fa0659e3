// A Varlink service: its interfaces, their handlers, and its connections.
import { assert, errnoOf, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { HelperPool } from '../os/helper-types.js';
import type { PeerCredentials, StreamSocket } from '../os/socket-types.js';
import type { VarlinkHandler } from './call.js';
import { Connection, type Target } from './connection.js';
import { StandardError, toErrorReply } from './errors.js';
import { encodeFrame } from './frames.js';
import { type IdlInterface, parseIdl } from './idl.js';
import { serviceDescription, serviceName } from './service-interface.js';

export interface ServiceInfo {
  readonly vendor: string;
  readonly product: string;
  readonly version: string;
  readonly url: string;
}

export interface ServiceOptions {
  readonly info: ServiceInfo;
  readonly log: Logger;
  /** Screens descriptors of peers before this process owns them. */
  readonly helpers?: HelperPool;
  /** A handler failed with something that is no expected error: our own bug. */
  onBug(error: unknown): void;
}

/**
 * A method is its handler; one that takes descriptors says how many at most, one that answers calls
 * with `upgrade` says so.
 */
export type MethodEntry =
  | VarlinkHandler<never>
  | {
      readonly handle: VarlinkHandler<never>;
      readonly fdsMax: number;
      readonly upgrades?: boolean;
    };

export type MethodTable = Readonly<Record<string, MethodEntry>>;

interface Served {
  readonly idl: IdlInterface;
  readonly methods: ReadonlyMap<string, MethodEntry>;
}

export class VarlinkService implements Disposable {
  readonly #options: ServiceOptions;
  readonly #interfaces = new Map<string, Served>();
  readonly #connections = new Set<Connection>();
  readonly #countByUid = new Map<number, number>();
  #fdsMax = 0;
  #upgrades = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.add(serviceDescription, {
      GetInfo: () => ({ ...options.info, interfaces: [...this.#interfaces.keys()] }),
      GetInterfaceDescription: (parameters: { interface: string }) => ({
        description: this.#served(parameters.interface).idl.description,
      }),
    });
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Serves an interface. Declared methods without a handler are answered MethodNotImplemented.
   * Add every interface before the first connection.
   */
  add(description: string, methods: MethodTable): void {
    const idl = parseIdl(description);
    for (const [name, entry] of Object.entries(methods)) {
      assert(idl.methods.has(name), `${idl.name} declares no method ${name}`);
      if (typeof entry !== 'object') continue;
      this.#fdsMax = Math.max(this.#fdsMax, entry.fdsMax);
      this.#upgrades ||= entry.upgrades === true;
    }
    assert(this.#fdsMax <= limits.varlinkFdsMax, `${this.#fdsMax} descriptors with one call`);
    this.#interfaces.set(idl.name, { idl, methods: new Map(Object.entries(methods)) });
  }

  /** Serves a connection. Takes ownership of the socket. */
  accept(socket: StreamSocket): void {
    try {
      this.#admit(socket);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      // Descriptors or memory ran out: this peer is told by the end of its connection.
      this.#options.log.warn('a control connection failed', { error: String(error) });
      socket[Symbol.dispose]();
    }
  }

  #admit(socket: StreamSocket): void {
    const credentials = socket.credentials();
    const { uid } = credentials;
    const count = this.#countByUid.get(uid) ?? 0;
    if (count >= limits.connectionsPerUidMax) {
      this.#refuse(socket, uid);
    } else {
      this.#countByUid.set(uid, count + 1);
      this.#serve(socket, credentials);
    }
  }

  /** Ends every connection at once. */
  [Symbol.dispose](): void {
    for (const connection of [...this.#connections]) connection[Symbol.dispose]();
  }

  #serve(socket: StreamSocket, credentials: PeerCredentials): void {
    const { helpers, log } = this.#options;
    const { uid } = credentials;
    const connection = new Connection(socket, {
      credentials,
      log,
      fdsMax: this.#fdsMax,
      stream: {
        fdsMax: this.#upgrades ? limits.upgradedFdsMax : this.#fdsMax,
        ...(helpers ? { screen: { helpers, uid } } : {}),
      },
      errorInterface: this.#errorInterface(),
      find: (method) => this.#find(method),
      onBug: (error) => this.#options.onBug(error),
      onClosed: () => {
        this.#connections.delete(connection);
        const count = this.#countByUid.get(uid)! - 1;
        if (count === 0) this.#countByUid.delete(uid);
        else this.#countByUid.set(uid, count);
      },
    });
    this.#connections.add(connection);
    try {
      connection.start();
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  #refuse(socket: StreamSocket, uid: number): void {
    const detail = `uid ${uid} has ${limits.connectionsPerUidMax} connections`;
    const error = new LessorError('QUOTA_EXCEEDED', detail, { hint: 'close connections first' });
    this.#options.log.warn('a control connection was refused', { uid, detail });
    socket.send(encodeFrame(toErrorReply(this.#errorInterface(), error)!));
    socket.end(0);
  }

  /** Namespace of errors that belong to no method: the first interface of our own. */
  #errorInterface(): string {
    const names = [...this.#interfaces.keys()];
    return names[1] ?? serviceName;
  }

  #served(name: string): Served {
    const served = this.#interfaces.get(name);
    if (served === undefined) throw new StandardError('InterfaceNotFound', { interface: name });
    return served;
  }

  #find(name: string): Target {
    const dot = name.lastIndexOf('.');
    const { idl, methods } = this.#served(name.slice(0, Math.max(dot, 0)));
    const method = idl.methods.get(name.slice(dot + 1));
    if (method === undefined) throw new StandardError('MethodNotFound', { method: name });
    const entry = methods.get(name.slice(dot + 1));
    if (entry === undefined) throw new StandardError('MethodNotImplemented', { method: name });
    const {
      handle,
      fdsMax,
      upgrades = false,
    } = typeof entry === 'object' ? entry : { handle: entry, fdsMax: 0 };
    return { idl, method, handle, fdsMax, upgrades };
  }
}
