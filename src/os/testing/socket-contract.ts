// What every SocketOs does, real or fake. Run by the tests of both.
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { closeAll, type Fd } from '../fd.js';
import type { SocketOs, StreamHandler, StreamSocket } from '../socket-types.js';

export interface SocketWorld {
  readonly sockets: SocketOs;
  /** A descriptor that can be passed, of an object with this number. */
  createFd(number: number): Fd;
  /** The number given at creation. */
  numberOf(fd: Fd): number;
  /** Descriptors open in this process, in flight ones not counted. */
  openCount(): number;
  /** A path nothing exists at. */
  freePath(): string;
}

/** Records what a stream delivers. */
export class Recorder implements StreamHandler {
  readonly reads: { bytes: Uint8Array; fds: Fd[]; refusedCount: number }[] = [];
  ends: (Error | undefined)[] = [];
  want = 65_536;
  onData: (() => void) | undefined;

  wantBytes(): number {
    return this.want;
  }

  data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    this.reads.push({ bytes, fds, refusedCount });
    this.onData?.();
  }

  end(error: Error | undefined): void {
    this.ends.push(error);
  }

  get byteCount(): number {
    return this.reads.reduce((sum, read) => sum + read.bytes.length, 0);
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.reads.map((read) => read.bytes));
  }

  get fds(): Fd[] {
    return this.reads.flatMap((read) => read.fds);
  }
}

/** Lets the event loop turn until `condition` holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const untilMs = performance.now() + 15_000;
  while (performance.now() < untilMs) {
    if (condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect.fail(`never happened: ${what}`);
}

/** Lets the event loop turn a few times. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export function socketContract(name: string, createWorld: () => SocketWorld): void {
  describe(`sockets: ${name}`, () => {
    const world = createWorld();
    const { sockets } = world;
    let open: Disposable[] = [];

    afterEach(() => {
      for (const item of open) item[Symbol.dispose]();
      open = [];
    });

    function pair(): [StreamSocket, StreamSocket] {
      const [one, other] = sockets.pair();
      const streams: [StreamSocket, StreamSocket] = [sockets.stream(one), sockets.stream(other)];
      open.push(...streams);
      return streams;
    }

    function receiver(fdsMax = 16): [StreamSocket, StreamSocket, Recorder] {
      const [near, far] = pair();
      const recorder = new Recorder();
      far.start(recorder, { fdsMax });
      return [near, far, recorder];
    }

    it('delivers bytes in order, however sent and read', async () => {
      const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(chunks, fc.integer({ min: 1, max: 4000 }), async (sent, want) => {
          const [near, far, recorder] = receiver();
          recorder.want = want;
          for (const chunk of sent) near.send(chunk);
          near.end();
          await until(() => recorder.ends.length > 0, 'end');
          expect(Buffer.compare(recorder.bytes, Buffer.concat(sent))).toBe(0);
          expect(recorder.reads.every((read) => read.bytes.length <= want)).toBe(true);
          expect(recorder.ends).toEqual([undefined]);
          expect(far.isOpen).toBe(false);
        }),
        { numRuns: 25 },
      );
    });

    it('gives descriptors with the first byte they were sent with, and none twice', async () => {
      const before = world.openCount();
      const [near, far, recorder] = receiver();
      recorder.want = 3;
      near.send(Uint8Array.of(1, 2, 3));
      near.send(Uint8Array.of(4, 5, 6, 7), [world.createFd(41), world.createFd(42)]);
      near.send(Uint8Array.of(8), [world.createFd(43)]);
      await until(() => recorder.byteCount === 8, 'bytes');
      const shape = recorder.reads.map((read) => [[...read.bytes], read.fds.map(world.numberOf)]);
      expect(shape).toEqual([
        [[1, 2, 3], []],
        [
          [4, 5, 6],
          [41, 42],
        ],
        [[7, 8], [43]],
      ]);
      closeAll(recorder.fds);
      near[Symbol.dispose]();
      far[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('passes 253 descriptors with one message', async () => {
      const before = world.openCount();
      const [near, far, recorder] = receiver(253);
      near.send(
        Uint8Array.of(1),
        Array.from({ length: 253 }, (_, index) => world.createFd(index)),
      );
      await until(() => recorder.byteCount === 1, 'byte');
      expect(recorder.fds.map(world.numberOf)).toEqual(recorder.fds.map((_, index) => index));
      expect(recorder.fds.length).toBe(253);
      closeAll(recorder.fds);
      near[Symbol.dispose]();
      far[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('refuses 254 descriptors as our own bug, closing them', () => {
      const before = world.openCount();
      const [near, far] = pair();
      const fds = Array.from({ length: 254 }, (_, index) => world.createFd(index));
      expect(() => near.send(Uint8Array.of(1), fds)).toThrow('253');
      near[Symbol.dispose]();
      far[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('accepts descriptors up to the limit and ends the stream one past it', async () => {
      const before = world.openCount();
      for (const count of [2, 3]) {
        const [near, far, recorder] = receiver(2);
        near.send(
          Uint8Array.of(1),
          Array.from({ length: count }, (_, index) => world.createFd(index)),
        );
        await until(() => recorder.reads.length + recorder.ends.length > 0, 'anything');
        expect(recorder.fds.length).toBe(count === 2 ? 2 : 0);
        expect(recorder.ends.map(isProtocolError)).toEqual(count === 2 ? [] : [true]);
        expect(far.isOpen).toBe(count === 2);
        closeAll(recorder.fds);
        near[Symbol.dispose]();
        far[Symbol.dispose]();
      }
      expect(world.openCount()).toBe(before);
    });

    it('takes no descriptor where none is expected', async () => {
      const before = world.openCount();
      const [near, far] = pair();
      // Sent before the receiver starts, so that the kernel cannot refuse it to the sender.
      near.send(Uint8Array.of(1), [world.createFd(1)]);
      const recorder = new Recorder();
      far.start(recorder, { fdsMax: 0 });
      await until(() => recorder.ends.length > 0, 'end');
      expect(recorder.ends.map(isProtocolError)).toEqual([true]);
      expect(recorder.reads).toEqual([]);
      near[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('calls nothing after dispose, and closes what was queued', async () => {
      const before = world.openCount();
      const [near, far, recorder] = receiver();
      far.pause();
      near.send(new Uint8Array(3_000_000));
      near.send(Uint8Array.of(1), [world.createFd(1)]);
      expect(near.queuedBytes).toBeGreaterThan(1);
      near[Symbol.dispose]();
      far.resume();
      far[Symbol.dispose]();
      near.send(Uint8Array.of(2), [world.createFd(2)]);
      await turns();
      expect(recorder.reads).toEqual([]);
      expect(recorder.ends).toEqual([]);
      expect(world.openCount()).toBe(before);
    });

    it('can be disposed inside its own callback', async () => {
      const [near, far, recorder] = receiver();
      recorder.want = 1;
      recorder.onData = () => far[Symbol.dispose]();
      near.send(Uint8Array.of(1, 2, 3));
      await turns();
      expect(recorder.byteCount).toBe(1);
      expect(recorder.ends).toEqual([]);
    });

    it('holds what a slow peer has not read, up to the limit', async () => {
      const [near, far, recorder] = receiver();
      const nearRecorder = new Recorder();
      near.start(nearRecorder, { fdsMax: 0 });
      far.pause();
      near.send(new Uint8Array(1_000_000));
      const rest = limits.sendQueueBytesMax - near.queuedBytes;
      near.send(new Uint8Array(rest));
      expect(near.queuedBytes).toBe(limits.sendQueueBytesMax);
      far.resume();
      await until(() => recorder.byteCount === 1_000_000 + rest, 'all bytes');
      expect(near.queuedBytes).toBe(0);
      expect(nearRecorder.ends).toEqual([]);
    });

    it('ends the stream to a peer that never reads, one byte past the limit', async () => {
      const before = world.openCount();
      const [near, far] = receiver();
      const nearRecorder = new Recorder();
      near.start(nearRecorder, { fdsMax: 0 });
      far.pause();
      near.send(new Uint8Array(1_000_000));
      near.send(new Uint8Array(limits.sendQueueBytesMax - near.queuedBytes));
      near.send(Uint8Array.of(1), [world.createFd(1)]);
      expect(nearRecorder.ends).toEqual([]);
      await until(() => nearRecorder.ends.length > 0, 'end');
      expect(nearRecorder.ends.map(isProtocolError)).toEqual([true]);
      expect(near.isOpen).toBe(false);
      far[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('limits the descriptors that wait for a peer that never reads', async () => {
      const before = world.openCount();
      const [near, far] = receiver();
      const nearRecorder = new Recorder();
      near.start(nearRecorder, { fdsMax: 0 });
      far.pause();
      near.send(new Uint8Array(1_000_000));
      for (let index = 0; index < limits.sendQueueFdsMax; index++) {
        near.send(Uint8Array.of(1), [world.createFd(1)]);
      }
      await turns();
      expect(nearRecorder.ends).toEqual([]);
      near.send(Uint8Array.of(1), [world.createFd(1)]);
      await until(() => nearRecorder.ends.length > 0, 'end');
      expect(nearRecorder.ends.map(isProtocolError)).toEqual([true]);
      far[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
    });

    it('reads what a peer sent before it closed, then says that sending failed', async () => {
      const [near, far] = pair();
      far.send(Uint8Array.of(1, 2, 3));
      far[Symbol.dispose]();
      const recorder = new Recorder();
      recorder.want = 1;
      near.start(recorder, { fdsMax: 0 });
      near.send(Uint8Array.of(9), [world.createFd(9)]);
      await until(() => recorder.ends.length > 0, 'end');
      expect([...recorder.bytes]).toEqual([1, 2, 3]);
      expect(recorder.ends.map((error) => isOsError(error, 'EPIPE'))).toEqual([true]);
    });

    it('ends after what was queued, telling its own handler once', async () => {
      const [near, far, recorder] = receiver();
      const nearRecorder = new Recorder();
      near.start(nearRecorder, { fdsMax: 0 });
      near.send(new Uint8Array(2_000_000));
      near.end();
      near.end();
      near.send(Uint8Array.of(1));
      await until(() => recorder.ends.length > 0, 'end');
      expect(recorder.byteCount).toBe(2_000_000);
      expect(nearRecorder.ends).toEqual([undefined]);
      expect(far.isOpen).toBe(false);
    });

    it('ends at the deadline when the peer does not read', async () => {
      const [near, far] = receiver();
      const nearRecorder = new Recorder();
      near.start(nearRecorder, { fdsMax: 0 });
      far.pause();
      near.send(new Uint8Array(2_000_000));
      near.end(5);
      expect(near.isOpen).toBe(true);
      await until(() => nearRecorder.ends.length > 0, 'end');
      expect(isLessorError(nearRecorder.ends[0], 'DEADLINE_EXCEEDED')).toBe(true);
      expect(near.isOpen).toBe(false);
    });

    it('delivers nothing while paused', async () => {
      const [near, far, recorder] = receiver();
      recorder.want = 1;
      recorder.onData = () => far.pause();
      near.send(Uint8Array.of(1, 2));
      await turns();
      expect(recorder.byteCount).toBe(1);
      far.resume();
      await until(() => recorder.byteCount === 2, 'second byte');
    });

    it('listens and connects by path', async () => {
      const before = world.openCount();
      const path = world.freePath();
      const accepted: StreamSocket[] = [];
      const listener = sockets.listen(path, 0o600, (stream) => accepted.push(stream));
      const client = sockets.connect(path);
      await until(() => accepted.length === 1, 'connection');
      const recorder = new Recorder();
      accepted[0]?.start(recorder, { fdsMax: 0 });
      client.send(Uint8Array.of(7));
      await until(() => recorder.byteCount === 1, 'byte');
      expect(accepted[0]?.credentials().uid).toBe(process.getuid?.());
      expect(accepted[0]?.credentials().pid).toBe(process.pid);
      client[Symbol.dispose]();
      await until(() => recorder.ends.length === 1, 'end');
      listener[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
      expect(() => sockets.connect(path)).toThrow('ENOENT');
      expect(world.openCount()).toBe(before);
    });

    it('binds for somebody else, and tells when a connection waits', async () => {
      const before = world.openCount();
      const path = world.freePath();
      const bound = sockets.bind(path, 0o600, 4);
      expect(sockets.isListening(bound.fd)).toBe(true);
      let calls = 0;
      const watch = sockets.onConnectable(bound.fd, () => {
        calls += 1;
      });
      await turns();
      expect(calls).toBe(0);
      const client = sockets.connect(path);
      await until(() => calls > 0, 'a word of the connection');
      watch[Symbol.dispose]();
      const heard = calls;
      await turns();
      expect(calls).toBe(heard);
      expect(sockets.isListening(client.fd)).toBe(false);
      const other = world.createFd(1);
      expect(sockets.isListening(other)).toBe(false);
      for (const item of [other, client, bound]) item[Symbol.dispose]();
      expect(world.openCount()).toBe(before);
      expect(() => sockets.connect(path)).toThrow('ENOENT');
      bound[Symbol.dispose]();
    });

    it('refuses a path that is taken or too long', () => {
      const path = world.freePath();
      const listener = sockets.listen(path, 0o600, () => {});
      open.push(listener);
      const before = world.openCount();
      expect(() => sockets.listen(path, 0o600, () => {})).toThrow('EADDRINUSE');
      const long = `/${'p'.repeat(107)}`;
      expect(() => sockets.listen(long, 0o600, () => {})).toThrow('at most 107');
      expect(() => sockets.connect(long)).toThrow('at most 107');
      expect(() => sockets.connect(`/${'p'.repeat(106)}`)).toThrow('ENOENT');
      expect(world.openCount()).toBe(before);
    });
  });
}
