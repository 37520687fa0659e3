// A server that dies on order: at the n-th reply of a connection, before or after sending it. Each
// connection gets a fresh endpoint, which keeps what it was told.
import type { Clock } from '../../base/clock.js';
import { closeAll } from '../../os/fd.js';
import type { StreamSocket } from '../../os/socket-types.js';
import type { DmaMapRequest, DmaRange, IrqChange } from '../endpoint.js';
import { serveVfioUser, type VfioUserConnection } from '../server.js';
import { TestEndpoint } from './endpoint.js';
import type { World } from './world.js';

export interface Death {
  /** Replies of the connection that still get through, VERSION included. */
  readonly replies: number;
  /** The last of them is sent; false: it was done, and nobody hears of it. */
  readonly sent: boolean;
}

/** The socket, except that it dies with the reply that `death` names. */
function mortal(socket: StreamSocket, death: Death, died: () => void): StreamSocket {
  let replies = 0;
  const send: StreamSocket['send'] = (bytes, fds = []) => {
    replies += 1;
    const isLast = replies === death.replies;
    if (isLast && !death.sent) closeAll(fds);
    else socket.send(bytes, fds);
    if (!isLast) return;
    socket[Symbol.dispose]();
    setImmediate(died);
  };
  return new Proxy(socket, {
    get(target, key) {
      if (key === 'send') return send;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Remembers maps and interrupts as a device would. */
export class KnowingEndpoint extends TestEndpoint {
  readonly maps = new Map<bigint, string>();
  readonly bound = new Map<string, string>();
  readonly masked = new Set<string>();
  readonly #nameOf: World['nameOf'];

  constructor(world: World) {
    super(world);
    this.#nameOf = (fd) => world.nameOf(fd);
  }

  override async dmaMap(request: DmaMapRequest): Promise<void> {
    const { iova, lengthBytes, fd } = request;
    const name = fd === undefined ? 'none' : this.#nameOf(fd);
    await super.dmaMap(request);
    this.maps.set(iova, `${lengthBytes} ${name}`);
  }

  override async dmaUnmap(range: DmaRange | 'all'): Promise<void> {
    await super.dmaUnmap(range);
    if (range === 'all') this.maps.clear();
    else this.maps.delete(range.iova);
  }

  override async setIrqs(change: IrqChange): Promise<void> {
    const names = change.action === 'bind' ? change.fds.map((fd) => this.#nameOf(fd) ?? '') : [];
    await super.setIrqs(change);
    const key = (vector: number): string => `${change.index}/${vector}`;
    if (change.action === 'bind') {
      for (const [at, name] of names.entries()) this.bound.set(key(change.start + at), name);
    } else if (change.action === 'unbind') {
      for (let at = 0; at < change.count; at += 1) this.bound.delete(key(change.start + at));
    } else if (change.action === 'disable') {
      const prefix = `${change.index}/`;
      for (const one of [...this.bound.keys()]) {
        if (one.startsWith(prefix)) this.bound.delete(one);
      }
    } else if (change.action === 'mask') for (const at of change.vectors) this.masked.add(key(at));
    else if (change.action === 'unmask')
      for (const at of change.vectors) this.masked.delete(key(at));
  }
}

export class MortalServer {
  readonly #world: World;
  readonly #clock: Clock;
  /** Deaths of the next connections, in order; those after them live. */
  readonly deaths: Death[] = [];
  /** Set: `dial` fails as if nobody listened. */
  refuse: Error | undefined;
  /** Set: connections are taken and never read. */
  isDeaf = false;
  /** Changes what the next connections serve. */
  prepare: (endpoint: KnowingEndpoint) => void = () => {};
  readonly endpoints: KnowingEndpoint[] = [];
  readonly connections: VfioUserConnection[] = [];
  readonly deaf: StreamSocket[] = [];
  dials = 0;

  constructor(world: World, clock: Clock) {
    this.#world = world;
    this.#clock = clock;
  }

  get last(): KnowingEndpoint {
    return this.endpoints.at(-1) as KnowingEndpoint;
  }

  dial = (): StreamSocket => {
    this.dials += 1;
    if (this.refuse !== undefined) throw this.refuse;
    const [ours, theirs] = this.#world.pair();
    if (this.isDeaf) {
      this.deaf.push(ours);
      return theirs;
    }
    const endpoint = new KnowingEndpoint(this.#world);
    this.prepare(endpoint);
    this.endpoints.push(endpoint);
    const death = this.deaths.shift();
    const die = (): void => connection.close();
    const socket = death === undefined ? ours : mortal(ours, death, die);
    const connection = serveVfioUser(socket, endpoint, { clock: this.#clock, onBug: fail });
    this.connections.push(connection);
    return theirs;
  };

  /** Ends the present connection, as the death of the process would. */
  kill(): void {
    this.connections.at(-1)?.close();
  }

  close(): void {
    for (const connection of this.connections) connection.close();
    for (const socket of this.deaf) socket[Symbol.dispose]();
  }
}

function fail(error: unknown): never {
  throw error;
}
