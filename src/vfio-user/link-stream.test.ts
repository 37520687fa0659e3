// What a link makes of a stream: messages keep their bytes, their order and their descriptors,
// however sends and reads are cut and joined, and however often the handler stops reading.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../os/clock.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { StreamHandler, StreamSocket } from '../os/socket-types.js';
import type { Message } from './framing.js';
import { Link } from './link.js';
import { PipeSocket } from './testing/pipe.js';
import { rawFrame } from './testing/raw-peer.js';
import { until, type World, worlds } from './testing/world.js';

const messages = fc.array(
  fc.record({
    payloadBytes: fc.oneof(fc.nat(40), fc.constantFrom(0, 16, 9000, 20_000)),
    fdCount: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 })),
    /** Goes with the message before in one send, if it has no descriptors. */
    joins: fc.boolean(),
    /** Where a send is cut in two, as a part of its length. */
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    /** The handler stops reading at this message for so many turns. */
    pauseTurns: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(2)),
  }),
  { minLength: 1, maxLength: 40 },
);

type Plan = typeof messages extends fc.Arbitrary<infer T> ? T : never;

/** Files are named after their message. */
function sendAll(world: World, socket: StreamSocket, plan: Plan): void {
  const sends: { parts: Uint8Array[]; fds: Fd[]; cut: number | null }[] = [];
  for (const [index, { payloadBytes, fdCount, joins, cut }] of plan.entries()) {
    const payload = new Uint8Array(payloadBytes).fill(index);
    const frame = rawFrame(2, payload, { messageId: index });
    const last = sends.at(-1);
    if (joins && fdCount === 0 && last !== undefined) {
      last.parts.push(frame);
      continue;
    }
    const fds = Array.from({ length: fdCount }, () => world.open(`m${index}`));
    sends.push({ parts: [frame], fds, cut });
  }
  for (const { parts, fds, cut } of sends) {
    const bytes = new Uint8Array(Buffer.concat(parts));
    const at = cut === null ? bytes.length : Math.max(1, Math.floor(cut * bytes.length));
    socket.send(bytes.subarray(0, at), fds);
    if (at < bytes.length) socket.send(bytes.subarray(at));
  }
}

describe.each(worlds)('a link %s', (_name, createWorld) => {
  it('gives each message its own bytes and descriptors', async () => {
    const readSizes = fc.constantFrom(Number.POSITIVE_INFINITY, 1000, 7);
    await fc.assert(
      fc.asyncProperty(messages, readSizes, async (plan, readBytes) => {
        const world = createWorld();
        const [near, far] = world.pair();
        if (far instanceof PipeSocket) far.readBytesMax = readBytes;
        const seen: string[] = [];
        let isPaused = false;
        let overtakenCount = 0;
        const command = ({ header, payload, fds }: Message): void => {
          if (isPaused) overtakenCount++;
          const index = header.messageId;
          const isOwn = payload.every((byte) => byte === index);
          const names = fds.map((fd) => world.nameOf(fd));
          closeAll(fds);
          seen.push(`${index} ${payload.length} ${isOwn} ${names}`);
          let turns = plan[index]?.pauseTurns ?? 0;
          if (turns === 0) return;
          isPaused = true;
          link.pause();
          const turn = (): void => {
            if (turns-- > 0) {
              setImmediate(turn);
              return;
            }
            isPaused = false;
            link.resume();
          };
          turn();
        };
        const ends: unknown[] = [];
        const handler = {
          commandsTakeFds: true,
          commandHeader() {},
          command,
          ended: (error: unknown) => ends.push(error),
        };
        const link = new Link(far, handler, systemClock);
        link.start(undefined);
        sendAll(world, near, plan);
        await until(() => seen.length === plan.length || ends.length > 0, 'all messages');
        const expected = plan.map(({ payloadBytes, fdCount }, index) => {
          return `${index} ${payloadBytes} true ${Array.from({ length: fdCount }, () => `m${index}`)}`;
        });
        expect(seen).toEqual(expected);
        expect(overtakenCount).toBe(0);
        near[Symbol.dispose]();
        await until(() => ends.length > 0, 'the end');
        expect(ends).toEqual([undefined]);
        expect(world.left()).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses descriptors for the message they came with, where no command takes any', async () => {
    const world = createWorld();
    const [near, far] = world.pair();
    const seen: string[] = [];
    const handler = {
      commandsTakeFds: false,
      commandHeader() {},
      command({ header, fds, refusedCount }: Message) {
        seen.push(`${header.messageId} ${Math.min(1, fds.length + refusedCount)}`);
        closeAll(fds);
      },
      ended() {},
    };
    const link = new Link(far, handler, systemClock);
    near.send(rawFrame(11, new Uint8Array(16), { messageId: 1 }));
    near.send(rawFrame(11, new Uint8Array(20), { messageId: 2 }).subarray(0, 9));
    near.send(rawFrame(11, new Uint8Array(20), { messageId: 2 }).subarray(9));
    near.send(rawFrame(13, undefined, { messageId: 3 }), [world.open('x')]);
    near.send(rawFrame(11, new Uint8Array(5000), { messageId: 4 }), [world.open('y')]);
    near.send(rawFrame(13, undefined, { messageId: 5 }));
    link.start(undefined);
    await until(() => seen.length === 5, 'all messages');
    expect(seen).toEqual(['1 0', '2 0', '3 1', '4 1', '5 0']);
    link.close(new TypeError('done'));
    near[Symbol.dispose]();
    await until(() => world.left().length === 0, 'no leak');
  });
});

describe('a link that does not read', () => {
  it('keeps nothing of a stream that it closed', () => {
    const world = worlds[0][1]();
    const [near, far] = world.pair();
    let started: StreamHandler | undefined;
    far.start = (handler) => {
      started = handler;
    };
    const seen: number[] = [];
    const link: Link = new Link(
      far,
      {
        commandsTakeFds: true,
        commandHeader() {},
        command({ header }) {
          seen.push(header.messageId);
          link.close(new TypeError('enough'));
        },
        ended() {},
      },
      systemClock,
    );
    link.start(undefined);
    const two = Buffer.concat([1, 2].map((messageId) => rawFrame(13, undefined, { messageId })));
    started?.ahead?.(two, two.length, false);
    started?.ahead?.(two, two.length, false);
    expect(seen).toEqual([1]);
    near[Symbol.dispose]();
  });
});
