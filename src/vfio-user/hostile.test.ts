// Random frames: nothing crashes, nothing leaks, whatever arrives in whatever pieces.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { connectVfioUser } from './client.js';
import { serveVfioUser } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import { ManualClock } from './testing/manual-clock.js';
import type { PipeSocket } from './testing/pipe.js';
import { RawPeer, rawFrame } from './testing/raw-peer.js';
import { memoryWorld, turns } from './testing/world.js';
import { encodeVersion, ownCapabilities } from './version.js';

const smallWord = fc.oneof(
  fc.nat(40),
  fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x1000, 4096, 1_048_576),
);
/** Payloads of words: near enough to real ones to get past the first check. */
const words = fc.array(smallWord, { maxLength: 10 }).map((list) => {
  return new Uint8Array(Uint32Array.from(list).buffer);
});
const frames = fc.record({
  command: fc.oneof(fc.nat(19), fc.nat(0xffff)),
  payload: fc.oneof(words, fc.uint8Array({ maxLength: 60 })),
  flags: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 0x10) }, fc.nat(0x3f)),
  errno: fc.constantFrom(0, 0, 0, 5),
  sizeChange: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer({ min: -20, max: 20 })),
  fdCount: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(4)),
});
const readSizes = fc.constantFrom(1, 3, 16, 1000);

describe('hostile bytes', () => {
  it('from a client end in a reply or the end of the connection, and leave nothing', async () => {
    const stream = fc.array(frames, { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(stream, readSizes, fc.boolean(), async (list, readBytes, negotiates) => {
        const world = memoryWorld();
        const endpoint = new TestEndpoint(world);
        const [near, far] = world.pair() as [PipeSocket, PipeSocket];
        far.readBytesMax = readBytes;
        const bugs: unknown[] = [];
        const options = { clock: new ManualClock(), onBug: (error: unknown) => bugs.push(error) };
        serveVfioUser(far, endpoint, options);
        const peer = new RawPeer(near);
        if (negotiates) peer.send(1, encodeVersion(1, ownCapabilities));
        for (const { command, payload, flags, errno, sizeChange, fdCount } of list) {
          const messageSize = Math.max(0, 16 + payload.length + sizeChange);
          const fds = Array.from({ length: fdCount }, () => world.open('file'));
          peer.send(command, payload, { flags, errno, messageSize, fds });
        }
        await turns(4);
        peer.close();
        await turns(2);
        expect(bugs).toEqual([]);
        expect(endpoint.closedCount).toBe(1);
        expect(world.left()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('from a server reject requests or end the connection, and leave nothing', async () => {
    const stream = fc.array(fc.tuple(frames, fc.nat(8)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(stream, readSizes, async (list, readBytes) => {
        const world = memoryWorld();
        const [near, far] = world.pair() as [PipeSocket, PipeSocket];
        near.readBytesMax = readBytes;
        const server = new RawPeer(far);
        const opening = connectVfioUser(near, { clock: new ManualClock() });
        const { header } = await server.next();
        server.send(1, encodeVersion(1, ownCapabilities), {
          flags: 1,
          messageId: header.messageId,
        });
        const client = await opening;
        const results = Promise.allSettled([
          client.deviceInfo(),
          client.regionInfo(0).then((info) => info.fd?.close()),
          client.regionInfo(0).then((info) => info.fd?.close()),
          client.irqInfo(0),
          client.read32(0, 0),
          client.write32(0, 0, 0),
          client.dmaUnmap('all'),
          client.reset(),
        ]);
        const commands = [4, 5, 5, 7, 9, 10, 3, 13];
        list.forEach(([{ payload, errno, sizeChange, fdCount }, index], at) => {
          const messageId = 1 + (index === 8 ? at : index);
          const fds = Array.from({ length: Math.min(fdCount, 2) }, () => world.open('file'));
          const messageSize = Math.max(0, 16 + payload.length + sizeChange);
          const changes = { flags: errno === 0 ? 1 : 0x21, errno, messageId, messageSize, fds };
          server.socket.send(rawFrame(commands[messageId - 1] ?? 9, payload, changes), fds);
        });
        await turns(4);
        client.close();
        for (const result of await results) {
          if (result.status === 'fulfilled') continue;
          expect(['OsError', 'ProtocolError', 'LessorError']).toContain(result.reason.name);
        }
        server.close();
        await turns(2);
        expect(world.left()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
