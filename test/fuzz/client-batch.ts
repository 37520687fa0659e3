// A client on its tour, whose server's messages are changed on the way.
import { OsError } from '../../src/base/errors.js';
import { closeAll } from '../../src/os/fd.js';
import { connectVfioUser, type VfioUserClient } from '../../src/vfio-user/client.js';
import type { DmaHandler } from '../../src/vfio-user/dma/handler.js';
import { serveVfioUser } from '../../src/vfio-user/server.js';
import { ManualClock } from '../../src/vfio-user/testing/manual-clock.js';
import { PipeSocket } from '../../src/vfio-user/testing/pipe.js';
import { RawPeer } from '../../src/vfio-user/testing/raw-peer.js';
import { turns, until } from '../../src/vfio-user/testing/world.js';
import type { Batch } from './batch.js';
import { FuzzEndpoint } from './fuzz-endpoint.js';
import { mutate, type Shape } from './mutate.js';
import { passOn, shapeOf } from './seeds.js';
import { tour } from './tour.js';
import { Wire } from './wire.js';

const expected = ['OsError', 'ProtocolError', 'LessorError'];

function outcomeOf(error: unknown): string {
  const { name, code, errno } = error as { name: string; code?: string; errno?: string };
  return name === 'ProtocolError' ? 'nonsense' : (code ?? errno ?? name);
}

/** Ids from here on are of requests that the real server knows nothing of. */
const ownIds = 0x8000;

/** A request of the server's that no device made. */
function serverCommand({ random, recorded }: Batch): Shape {
  if (random.percent(25)) {
    return { ...random.pick(recorded.ofServer), messageId: ownIds + random.below(0x8000) };
  }
  const payload = new Uint8Array(16 + (random.percent(50) ? random.below(64) : 0));
  const view = new DataView(payload.buffer);
  view.setBigUint64(0, BigInt(random.pick([0, 0x1_0000, 0x2_0000])), true);
  view.setUint32(8, random.pick([0, 1, 16, 64, 4096]), true);
  return {
    command: random.pick([11, 12]),
    messageId: ownIds + random.below(0x8000),
    flags: 0,
    errno: 0,
    sizeError: 0,
    payload,
    fdCount: 0,
  };
}

/** Calls that wait: more would only wait, too. */
const pendingMax = 40;
/** Turns without a message after which the client is taken to wait for the rest of one. */
const idleTurnsMax = 12;
const calmTour = tour.filter(({ name }) => name === 'migrateAcross');

/** Memory that the server may reach by message, but for what lies beyond. */
function memoryOf({ random, tally }: Batch): DmaHandler {
  const reach = (iova: bigint): void | Promise<void> => {
    if (iova >= 0x2_0000n) {
      tally.add('client dma', 'EFAULT');
      throw new OsError('EFAULT', 'dma');
    }
    tally.add('client dma', 'ok');
    return random.percent(20) ? new Promise((resolve) => setImmediate(resolve)) : undefined;
  };
  return {
    read(iova, lengthBytes) {
      const data = new Uint8Array(lengthBytes);
      const waits = reach(iova);
      return waits instanceof Promise ? waits.then(() => data) : data;
    },
    write: (iova) => reach(iova),
  };
}

class Session {
  readonly #batch: Batch;
  readonly #clock = new ManualClock();
  readonly #fromClient: RawPeer;
  readonly #fromServer: RawPeer;
  readonly #wire: Wire;
  readonly #asked: Promise<unknown>[] = [];
  readonly #bugs: unknown[] = [];
  readonly #opening: Promise<void>;
  #client: VfioUserClient | undefined;
  /** One call at a time, and a device that refuses nothing: some calls need those before. */
  readonly #isCalm: boolean;
  #isOver = false;
  #pending = 0;
  sent = 0;

  constructor(batch: Batch) {
    const { fuzzWorld, random, tally } = batch;
    const { world } = fuzzWorld;
    this.#batch = batch;
    const [near, clientEnd] = world.pair();
    const [serverEnd, far] = world.pair();
    if (near instanceof PipeSocket) near.readBytesMax = random.pick([1, 3, 16, 100, 1e6, 1e6, 1e6]);
    const endpoint = new FuzzEndpoint(world, random, tally);
    this.#isCalm = random.percent(15);
    if (this.#isCalm) endpoint.before = () => {};
    const onBug = (error: unknown): number => this.#bugs.push(error);
    const twin = random.percent(50) ? { twinSocket: world.sockets } : {};
    serveVfioUser(far, endpoint, { clock: this.#clock, onBug, ...twin });
    this.#fromClient = new RawPeer(clientEnd);
    this.#fromServer = new RawPeer(serverEnd);
    this.#wire = new Wire(clientEnd, fuzzWorld, random);
    const options = {
      clock: this.#clock,
      deadlineMs: 1000,
      ...(random.percent(85) ? { dma: memoryOf(batch) } : {}),
      ...(random.percent(20) ? { twinSocket: world.sockets } : {}),
    };
    this.#opening = connectVfioUser(near, options).then(
      (client) => {
        this.#client = client;
        tally.add('client VERSION', 'ok');
      },
      (error: unknown) => {
        this.#isOver = true;
        this.#fail('VERSION', error);
      },
    );
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#client?.isOpen !== false;
  }

  #fail(name: string, error: unknown): void {
    const { tally, check } = this.#batch;
    check(expected.includes((error as Error).name), () => `${name}: ${(error as Error).stack}`);
    tally.add(`client ${name}`, outcomeOf(error));
  }

  askSome(): void {
    const client = this.#client;
    const { random, fuzzWorld, tally } = this.#batch;
    if (client === undefined || this.#pending > pendingMax) return;
    if (this.#isCalm && this.#pending > 0) return;
    for (let left = this.#isCalm ? 1 : random.between(1, 10); left > 0; left--) {
      const stop = this.#isCalm ? random.pick(calmTour) : random.pick(tour);
      const asked = stop.ask(client, random, fuzzWorld.world).then(
        () => tally.add(`client ${stop.name}`, 'ok'),
        (error: unknown) => this.#fail(stop.name, error),
      );
      this.#pending++;
      this.#asked.push(asked.finally(() => this.#pending--));
    }
  }

  pump(): void {
    const { random } = this.#batch;
    for (const message of this.#fromClient.received.splice(0)) {
      const { flags, messageId } = message.header;
      if ((flags & 0xf) === 1 && messageId >= ownIds) closeAll(message.fds);
      else passOn(this.#fromServer, message);
    }
    for (const message of this.#fromServer.received.splice(0)) {
      this.sent++;
      const shape = mutate(shapeOf(message), random, this.#isCalm ? 3 : 12, 15);
      const isOwn = shape.fdCount === message.fds.length;
      if (!isOwn) for (const fd of message.fds) fd.close();
      this.#wire.send(shape, isOwn ? message.fds : undefined);
    }
    if (random.percent(20)) {
      this.sent++;
      this.#wire.send(mutate(serverCommand(this.#batch), random, 50, 4));
    }
    this.#wire.flush();
    if (random.below(400) === 0) this.#clock.advance(2000);
  }

  async finish(): Promise<void> {
    const { tally, check, fuzzWorld } = this.#batch;
    tally.add('client connection', this.isOpen ? 'lives' : 'ended by the client');
    this.#client?.close();
    this.#clock.advance(100_000);
    this.#fromClient.close();
    this.#fromServer.close();
    await this.#opening;
    // A call that never settles hangs here; the caller has a deadline.
    await Promise.all(this.#asked);
    await until(() => fuzzWorld.world.left().length === 0, 'nothing is left open');
    check(this.#bugs.length === 0, () => `the server's own bug: ${(this.#bugs[0] as Error).stack}`);
    check(this.#clock.timerCount === 0, () => `${this.#clock.timerCount} timers are left`);
  }
}

/** @returns Messages that reached the client. */
export async function clientBatch(batch: Batch): Promise<number> {
  const session = new Session(batch);
  let idleTurns = 0;
  while (session.isOpen && session.sent < batch.frames && idleTurns < idleTurnsMax) {
    const { sent } = session;
    session.askSome();
    await turns(2);
    session.pump();
    idleTurns = session.sent === sent ? idleTurns + 1 : 0;
  }
  await session.finish();
  return session.sent;
}
