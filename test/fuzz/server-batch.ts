// A hostile client for as long as its connection lives, or so many frames.
import { closeAll } from '../../src/os/fd.js';
import { serveVfioUser } from '../../src/vfio-user/server.js';
import { ManualClock } from '../../src/vfio-user/testing/manual-clock.js';
import { PipeSocket } from '../../src/vfio-user/testing/pipe.js';
import { RawPeer, type Received, verdict } from '../../src/vfio-user/testing/raw-peer.js';
import { commandName } from '../../src/vfio-user/testing/rules/rule.js';
import { turns, until } from '../../src/vfio-user/testing/world.js';
import { encodeVersion, ownCapabilities } from '../../src/vfio-user/version.js';
import type { Batch } from './batch.js';
import { FuzzEndpoint } from './fuzz-endpoint.js';
import { mutate, type Shape } from './mutate.js';
import { Wire } from './wire.js';

const plain = { messageId: 0, flags: 0, errno: 0, sizeError: 0, fdCount: 0 };

function versionShape({ random, recorded }: Batch): Shape {
  if (random.percent(25)) return random.pick(recorded.versions);
  const capabilities = {
    ...ownCapabilities,
    maxMsgFds: random.pick([0, 1, 8, 16, 16, 1024]),
    maxDataXferBytes: random.pick([16, 4096, 1_048_576, 1_048_576]),
    writeMultiple: random.percent(80),
    twinSocket: random.percent(30),
  };
  return { ...plain, command: 1, payload: encodeVersion(random.below(3), capabilities) };
}

/** A command of the server: answered well, badly or not at all. */
function answerShape({ random }: Batch, { header, payload }: Received): Shape | undefined {
  if (random.percent(5)) return undefined;
  const isRead = header.command === 11;
  const count = payload.length >= 16 ? new DataView(payload.slice().buffer).getUint32(8, true) : 0;
  const data = isRead ? new Uint8Array(Math.min(count, 65_536)) : new Uint8Array(0);
  const reply = new Uint8Array(Buffer.concat([payload.subarray(0, 16), data]));
  const isError = random.percent(20);
  const shape = {
    ...plain,
    command: header.command,
    messageId: header.messageId,
    flags: isError ? 0x21 : 1,
    errno: isError ? 14 : 0,
    payload: isError ? new Uint8Array(0) : reply,
  };
  return mutate(shape, random, 10, 20);
}

function takeReceived(batch: Batch, peer: RawPeer, wire: Wire): void {
  for (const message of peer.received.splice(0)) {
    closeAll(message.fds);
    if ((message.header.flags & 0xf) === 1) {
      batch.tally.add(`server ${commandName(message.header.command)}`, verdict(message));
      continue;
    }
    const answer = answerShape(batch, message);
    if (answer !== undefined) wire.send(answer);
  }
}

/** @returns Frames that were sent. */
export async function serverBatch(batch: Batch): Promise<number> {
  const { random, fuzzWorld, tally, seeds } = batch;
  const { world } = fuzzWorld;
  const [near, far] = world.pair();
  if (far instanceof PipeSocket) far.readBytesMax = random.pick([1, 3, 16, 100, 1e6, 1e6, 1e6]);
  const endpoint = new FuzzEndpoint(world, random, tally);
  const clock = new ManualClock();
  const bugs: unknown[] = [];
  const twin = random.percent(20) ? { twinSocket: world.sockets } : {};
  const onBug = (error: unknown): number => bugs.push(error);
  const connection = serveVfioUser(far, endpoint, { clock, onBug, ...twin });
  const peer = new RawPeer(near);
  const wire = new Wire(near, fuzzWorld, random);
  wire.send(mutate(versionShape(batch), random, 6, 30));
  let sent = 1;
  while (sent < batch.frames && connection.isOpen) {
    for (let left = random.between(1, 12); left > 0; left--) {
      const shape = { ...random.pick(seeds), messageId: random.below(0x1_0000) };
      wire.send(mutate(shape, random, 75, 2));
      sent++;
    }
    await turns(1);
    takeReceived(batch, peer, wire);
    if (random.percent(3)) clock.advance(10_000);
  }
  tally.add('server connection', connection.isOpen ? 'lives' : 'ended by the client');
  wire.flush();
  await turns(1);
  if (random.percent(10)) connection.fence('ENODEV');
  if (random.percent(30)) connection.close();
  takeReceived(batch, peer, wire);
  peer.close();
  await until(() => endpoint.closedCount > 0 && world.left().length === 0, 'nothing is left open');
  clock.advance(100_000);
  batch.check(bugs.length === 0, () => `the server's own bug: ${(bugs[0] as Error).stack}`);
  batch.check(endpoint.closedCount === 1, () => `closed ${endpoint.closedCount} times`);
  batch.check(clock.timerCount === 0, () => `${clock.timerCount} timers are left`);
  return sent;
}
