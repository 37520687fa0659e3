// Rules that a server keeps: a raw client sends one message to a served test endpoint.
import { systemClock } from '../../../os/clock.js';
import { closeAll } from '../../../os/fd.js';
import { VFIO_USER_DEVICE_GET_INFO, VFIO_USER_VERSION } from '../../../uapi/vfio-user.js';
import { serveVfioUser, type VfioUserConnection } from '../../server.js';
import { type Capabilities, encodeVersion, ownCapabilities } from '../../version.js';
import { TestEndpoint } from '../endpoint.js';
import { FullEndpoint } from '../full-endpoint.js';
import type { PipeSocket } from '../pipe.js';

import { type FrameChanges, infoPayload, RawPeer, rawFrame, verdict } from '../raw-peer.js';
import { memoryWorld, turns, until, type World } from '../world.js';
import { assert, type Errno, filesLeft, hex, messageText, openFiles, type Rule } from './rule.js';

/** What a rule may arrange before its message. */
export interface ServerStage {
  readonly world: World;
  readonly endpoint: TestEndpoint;
  readonly peer: RawPeer;
  readonly connection: VfioUserConnection;
}

export interface ServerCase {
  readonly command: number;
  readonly payload?: Uint8Array;
  readonly changes?: Omit<FrameChanges, 'fds'>;
  readonly fdCount?: number;
  /** Descriptors that the screening of the socket has closed; in memory alone. */
  readonly screenedCount?: number;
  /** The message is sent in such pieces, the rest in one more. Default: whole. */
  readonly pieces?: readonly { readonly bytes: number; readonly fdCount: number }[];
  /** The message is the first one: no VERSION came before. */
  readonly isFirst?: boolean;
  /** The endpoint has everything that the protocol has. */
  readonly isFull?: boolean;
  /** What the client says of itself; default what we say. */
  readonly client?: Partial<Capabilities>;
  readonly arrange?: (stage: ServerStage) => void | Promise<void>;
  /**
   * An errno: that answer, descriptors closed, the endpoint not asked, the connection lives.
   * `ok`: the answer and the connection lives. `silence`: none, and it lives. `end`: none, and
   * the connection is closed. `EINVAL, end`: that answer, then it is closed.
   */
  readonly wants: Errno | 'ok' | 'silence' | 'end' | 'EINVAL, end';
  /** The payload of the reply, exactly. */
  readonly reply?: Uint8Array;
  /** Names of the files that come with the reply. Default none. */
  readonly replyFiles?: readonly string[];
  /** What the endpoint was asked by this message. Default nothing, unless `ok`. */
  readonly calls?: readonly string[];
}

const probeId = 0x4711;

/** The connection answers a well-formed request. */
async function expectAlive(peer: RawPeer): Promise<void> {
  peer.send(VFIO_USER_DEVICE_GET_INFO, infoPayload(), { messageId: probeId });
  const { header } = await peer.next();
  assert.deepEqual([header.messageId, header.command, header.flags], [probeId, 4, 1]);
}

async function expectEnd({ peer, endpoint, connection }: ServerStage): Promise<void> {
  await until(() => peer.ended && endpoint.closedCount === 1, 'the end');
  assert.ok(endpoint.closedWith instanceof Error, 'the endpoint was not told why');
  assert.deepEqual([peer.received.length, connection.isOpen], [0, false]);
}

async function expectReply(stage: ServerStage, wanted: ServerCase): Promise<void> {
  const { peer, world } = stage;
  const [errno] = wanted.wants.split(',');
  const reply = await peer.next();
  const names = reply.fds.map((fd) => world.nameOf(fd));
  closeAll(reply.fds);
  const { messageId = 7 } = wanted.changes ?? {};
  assert.equal(verdict(reply), errno);
  assert.deepEqual([reply.header.messageId, reply.header.command], [messageId, wanted.command]);
  assert.equal(reply.header.flags, errno === 'ok' ? 1 : 0x21);
  assert.deepEqual(names, wanted.replyFiles ?? []);
  if (wanted.reply !== undefined) assert.equal(hex(reply.payload), hex(wanted.reply));
  if (errno !== 'ok') assert.equal(reply.payload.length, 0);
}

function sendMessage({ peer, world }: ServerStage, wanted: ServerCase): void {
  const { command, payload, changes, fdCount = 0, screenedCount } = wanted;
  let frame = rawFrame(command, payload, changes);
  for (const piece of wanted.pieces ?? []) {
    peer.socket.send(frame.subarray(0, piece.bytes), openFiles(world, piece.fdCount));
    frame = frame.subarray(piece.bytes);
  }
  const fds = openFiles(world, fdCount);
  if (screenedCount === undefined) peer.socket.send(frame, fds);
  else (peer.socket as PipeSocket).send(frame, fds, screenedCount);
}

async function check(stage: ServerStage, wanted: ServerCase): Promise<void> {
  const { endpoint, peer, world } = stage;
  const before = endpoint.calls.length;
  const { wants } = wanted;
  sendMessage(stage, wanted);
  if (wants !== 'silence' && wants !== 'end') await expectReply(stage, wanted);
  if (wants === 'end' || wants === 'EINVAL, end') await expectEnd(stage);
  else await expectAlive(peer);
  const heard = endpoint.calls.slice(before);
  if (wanted.calls !== undefined || wants !== 'ok') assert.deepEqual(heard, wanted.calls ?? []);
  // What a handler took is closed with the connection; what was refused, at once.
  if (heard.length === 0) assert.deepEqual(filesLeft(world), []);
}

async function run(wanted: ServerCase, chosenWorld: () => World): Promise<void> {
  // The kernel's sockets are screened by helper processes, which these tests do not start.
  const createWorld = wanted.screenedCount === undefined ? chosenWorld : memoryWorld;
  const world = createWorld();
  const endpoint = wanted.isFull === true ? new FullEndpoint(world) : new TestEndpoint(world);
  const [near, far] = world.pair();
  const bugs: unknown[] = [];
  const onBug = (error: unknown): number => bugs.push(error);
  const connection = serveVfioUser(far, endpoint, { clock: systemClock, onBug });
  const peer = new RawPeer(near);
  const stage = { world, endpoint, peer, connection };
  try {
    if (wanted.isFirst !== true) {
      const version = encodeVersion(1, { ...ownCapabilities, ...wanted.client });
      assert.equal(await peer.ask(VFIO_USER_VERSION, version), 'ok');
    }
    await wanted.arrange?.(stage);
    await check(stage, wanted);
    assert.deepEqual(bugs, []);
  } finally {
    peer.close();
  }
  await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  await turns(1);
  assert.equal(endpoint.closedCount, 1);
}

const lives: Readonly<Record<string, string>> = {
  ok: 'success',
  silence: 'no answer',
  end: 'no answer; the connection ends',
  'EINVAL, end': 'EINVAL; the connection ends',
};

/** A row of a table: name of the case, what it is, what is sent, what must come back. */
export type ServerRow = readonly [
  name: string,
  says: string,
  wanted: Omit<ServerCase, 'command'> & { readonly command?: number },
];

/** The rules of one command or subject. */
export function serverRules(
  subject: string,
  command: number,
  rows: readonly ServerRow[],
): readonly Rule[] {
  return rows.map(([name, says, row]) => {
    const wanted: ServerCase = { command, ...row };
    const { payload = new Uint8Array(0), changes = {}, fdCount = 0, screenedCount = 0 } = wanted;
    const pieces = wanted.pieces ?? [];
    const fdsInAll = pieces.reduce((sum, piece) => sum + piece.fdCount, fdCount);
    return {
      id: `server/${subject}/${name}`,
      says,
      sends: [
        messageText(wanted.command, payload, changes, fdsInAll),
        screenedCount > 0 ? `${screenedCount} screened` : '',
        pieces.length > 0 ? `in ${pieces.length + 1} pieces` : '',
      ]
        .filter((text) => text !== '')
        .join(', '),
      wants: lives[wanted.wants] ?? wanted.wants,
      run: (createWorld) => run(wanted, createWorld),
    };
  });
}
