// Rules that a client keeps: it asks, a raw server answers whatever the rule says, or asks back.
import { isLessorError, isOsError, isProtocolError } from '../../../base/errors.js';
import { connectVfioUser, type VfioUserClient } from '../../client.js';
import type { VfioUserClientOptions } from '../../requester.js';
import { encodeVersion, ownCapabilities } from '../../version.js';
import { ManualClock } from '../manual-clock.js';
import { type FrameChanges, RawPeer, rawFrame, verdict } from '../raw-peer.js';
import { turns, until, type World } from '../world.js';
import { assert, type Errno, filesLeft, hex, messageText, openFiles, type Rule } from './rule.js';

/** What the server sends to a request: the command and id asked with, unless changed. */
export interface Answer {
  readonly command?: number;
  readonly payload?: Uint8Array;
  readonly changes?: Omit<FrameChanges, 'fds'>;
  readonly fdCount?: number;
  /** The request was posted: it is taken, and nothing is sent. */
  readonly isSilent?: true;
}

export interface ClientCase {
  /** What the client is asked to do. Absent: the answers are to its VERSION. */
  readonly asks?: (client: VfioUserClient, world: World) => Promise<unknown>;
  readonly answers: readonly Answer[];
  readonly options?: Partial<VfioUserClientOptions>;
  /** What the server says of itself in VERSION. */
  readonly version?: Uint8Array;
  /**
   * `closes`: the call rejects with what is wrong with the answer, the connection is closed.
   * An errno: it rejects with that, the connection lives. `gives`: it resolves.
   */
  readonly wants: 'closes' | Errno | 'gives';
  /** What the call resolves with, when that matters. */
  readonly value?: unknown;
}

/** A command of the server. */
export interface ServerCommandCase {
  readonly command: number;
  readonly payload?: Uint8Array;
  readonly changes?: Omit<FrameChanges, 'fds'>;
  readonly fdCount?: number;
  readonly options?: Partial<VfioUserClientOptions>;
  readonly version?: Uint8Array;
  readonly arrange?: (client: VfioUserClient, server: RawPeer, world: World) => Promise<void>;
  /** The answer, or none and the connection lives, or none and it is closed. */
  readonly wants: Errno | 'ok' | 'silence' | 'end';
  readonly reply?: Uint8Array;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

function outcomeOf(promise: Promise<unknown>): Promise<Outcome> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

export interface ClientStage {
  readonly world: World;
  readonly clock: ManualClock;
  readonly server: RawPeer;
}

async function answer({ server, world }: ClientStage, given: Answer): Promise<void> {
  const { header, fds } = await server.next();
  for (const fd of fds) fd.close();
  if (given.isSilent === true) return;
  const { messageId } = header;
  const changes = { flags: 1, messageId, ...given.changes };
  const frame = rawFrame(given.command ?? header.command, given.payload, changes);
  server.socket.send(frame, openFiles(world, given.fdCount ?? 0));
}

export async function withClient(
  createWorld: () => World,
  version: Uint8Array,
  options: Partial<VfioUserClientOptions>,
  body: (client: VfioUserClient, stage: ClientStage, ends: unknown[]) => Promise<void>,
): Promise<void> {
  const world = createWorld();
  const clock = new ManualClock();
  const [near, far] = world.pair();
  const stage = { world, clock, server: new RawPeer(far) };
  try {
    const opening = connectVfioUser(near, { clock, deadlineMs: 100, ...options });
    await answer(stage, { payload: version });
    const client = await opening;
    const ends: unknown[] = [];
    client.onClosed((error) => ends.push(error));
    try {
      await body(client, stage, ends);
    } finally {
      client.close();
    }
  } finally {
    stage.server.close();
  }
  await until(() => world.left().length === 0, 'no leak');
  assert.equal(clock.timerCount, 0);
}

async function expectAlive(client: VfioUserClient, stage: ClientStage): Promise<void> {
  assert.equal(client.isOpen, true);
  const reset = outcomeOf(client.reset());
  await answer(stage, {});
  assert.deepEqual(await reset, { value: undefined });
}

const usualVersion = encodeVersion(1, ownCapabilities);

async function runAsking(
  asks: NonNullable<ClientCase['asks']>,
  wanted: ClientCase,
  createWorld: () => World,
): Promise<void> {
  const { version = usualVersion, options = {}, wants } = wanted;
  await withClient(createWorld, version, options, async (client, stage, ends) => {
    const asked = outcomeOf(asks(client, stage.world));
    for (const given of wanted.answers) await answer(stage, given);
    const outcome = await asked;
    if (wants === 'gives') {
      if ('error' in outcome) throw outcome.error;
      if ('value' in wanted) assert.deepEqual(outcome.value, wanted.value);
      await expectAlive(client, stage);
      return;
    }
    assert.ok('error' in outcome, 'the call resolved');
    if (wants === 'closes') {
      const { error } = outcome;
      assert.ok(isProtocolError(error) || isLessorError(error), String(error));
      assert.deepEqual([ends, client.isOpen], [[error], false]);
    } else {
      const { error } = outcome;
      assert.ok(isOsError(error, wants) || isLessorError(error), String(error));
      assert.equal((error as { errno: Errno }).errno, wants);
      await expectAlive(client, stage);
    }
    assert.deepEqual(filesLeft(stage.world), []);
  });
}

/** The answers are to VERSION. */
async function runOpening(wanted: ClientCase, createWorld: () => World): Promise<void> {
  const world = createWorld();
  const clock = new ManualClock();
  const [near, far] = world.pair();
  const stage = { world, clock, server: new RawPeer(far) };
  try {
    const opening = outcomeOf(connectVfioUser(near, { clock, deadlineMs: 100, ...wanted.options }));
    for (const given of wanted.answers) await answer(stage, given);
    const outcome = await opening;
    if ('value' in outcome) (outcome.value as VfioUserClient).close();
    assert.equal('value' in outcome, wanted.wants === 'gives');
    if ('error' in outcome) {
      const { error } = outcome;
      const isNonsense = isProtocolError(error) || isLessorError(error);
      const isExpected =
        wanted.wants === 'closes' ? isNonsense : isOsError(error, wanted.wants as Errno);
      assert.ok(isExpected, String(error));
    }
    await until(() => stage.server.ended, 'the end');
  } finally {
    stage.server.close();
  }
  await until(() => world.left().length === 0, 'no leak');
  assert.equal(clock.timerCount, 0);
}

async function runCommand(wanted: ServerCommandCase, createWorld: () => World): Promise<void> {
  const { version = usualVersion, options = {}, wants, command } = wanted;
  await withClient(createWorld, version, options, async (client, stage, ends) => {
    const { server, world } = stage;
    await wanted.arrange?.(client, server, world);
    const frame = rawFrame(command, wanted.payload, wanted.changes);
    server.socket.send(frame, openFiles(world, wanted.fdCount ?? 0));
    if (wants === 'end') {
      await until(() => server.ended, 'the end');
      await until(() => ends.length === 1, 'the client is told');
      assert.deepEqual([client.isOpen, server.received.length], [false, 0]);
      return;
    }
    if (wants !== 'silence') {
      const reply = await server.next();
      const { messageId = 7 } = wanted.changes ?? {};
      assert.equal(verdict(reply), wants);
      assert.deepEqual([reply.header.messageId, reply.header.command], [messageId, command]);
      assert.equal(reply.header.flags, wants === 'ok' ? 1 : 0x21);
      if (wanted.reply !== undefined) assert.equal(hex(reply.payload), hex(wanted.reply));
    }
    await turns(2);
    assert.deepEqual(filesLeft(world), []);
    await expectAlive(client, stage);
  });
}

const outcomes: Readonly<Record<string, string>> = {
  closes: 'the call rejects; the connection ends',
  gives: 'the call resolves',
  ok: 'success',
  silence: 'no answer',
  end: 'no answer; the connection ends',
};

function answersText(answers: readonly Answer[]): string {
  const texts = answers.map(
    ({ payload = new Uint8Array(0), changes = {}, fdCount = 0, command, isSilent }) => {
      if (isSilent === true) return 'nothing';
      const text = messageText(command ?? 0, payload, changes, fdCount);
      return text.replace(/^command 0/, 'reply');
    },
  );
  return texts.join('; ') || 'nothing';
}

export type ClientRow = readonly [name: string, says: string, wanted: ClientCase];

/** The rules for the replies to one command. */
export function clientRules(subject: string, rows: readonly ClientRow[]): readonly Rule[] {
  return rows.map(([name, says, wanted]) => ({
    id: `client/${subject}/${name}`,
    says,
    sends: answersText(wanted.answers),
    wants: outcomes[wanted.wants] ?? `the call rejects with ${wanted.wants}`,
    run: (createWorld) =>
      wanted.asks === undefined
        ? runOpening(wanted, createWorld)
        : runAsking(wanted.asks, wanted, createWorld),
  }));
}

export type ServerCommandRow = readonly [name: string, says: string, wanted: ServerCommandCase];

/** The rules for commands that a server sends. */
export function commandRules(subject: string, rows: readonly ServerCommandRow[]): readonly Rule[] {
  return rows.map(([name, says, wanted]) => ({
    id: `client/${subject}/${name}`,
    says,
    sends: messageText(
      wanted.command,
      wanted.payload ?? new Uint8Array(0),
      wanted.changes ?? {},
      wanted.fdCount ?? 0,
    ),
    wants: outcomes[wanted.wants] ?? wanted.wants,
    run: (createWorld) => runCommand(wanted, createWorld),
  }));
}
