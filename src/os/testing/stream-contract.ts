// What the streams of every SocketOs do for a protocol that reads ahead and sends many small
// messages. Run by the tests of the real ones and of the fake.
import { afterEach, describe, expect, it } from 'vitest';
import { isProtocolError } from '../../base/errors.js';
import { closeAll } from '../fd.js';
import { aheadBytesMax } from '../receive.js';
import type { StreamOptions, StreamSocket } from '../socket-types.js';
import { Recorder, type SocketWorld, turns, until } from './socket-contract.js';

/** Takes what comes ahead; shows each read with how it came. */
class AheadRecorder extends Recorder {
  override want = 2;
  refuses = false;
  drainedCount = 0;
  readonly shape: [how: string, bytes: number[]][] = [];
  aheadBytes = 0;

  ahead(buffer: Uint8Array, lengthBytes: number, lostFds: boolean): void {
    this.shape.push([lostFds ? 'lost' : 'ahead', [...buffer.subarray(0, lengthBytes)]]);
    this.aheadBytes += lengthBytes;
    this.onData?.();
  }

  override data(bytes: Uint8Array, fds: Parameters<Recorder['data']>[1], refused: number): void {
    this.shape.push([`${fds.length}`, [...bytes]]);
    super.data(bytes, fds, refused);
  }

  refusesFds(): boolean {
    return this.refuses;
  }

  drained(): void {
    this.drainedCount++;
  }
}

export function streamContract(name: string, createWorld: () => SocketWorld): void {
  describe(`streams: ${name}`, () => {
    const world = createWorld();
    let open: Disposable[] = [];

    afterEach(() => {
      for (const item of open) item[Symbol.dispose]();
      open = [];
    });

    function pair(options: Partial<StreamOptions> = {}) {
      const [one, other] = world.sockets.pair();
      const near: StreamSocket = world.sockets.stream(one);
      const far: StreamSocket = world.sockets.stream(other);
      open.push(near, far);
      const sender = new AheadRecorder();
      const recorder = new AheadRecorder();
      near.start(sender, { fdsMax: 16, ...options });
      return { near, far, sender, recorder, start: () => far.start(recorder, { fdsMax: 16 }) };
    }

    it('read ahead of what is wanted, as long as no descriptor comes', async () => {
      const { near, recorder, start } = pair();
      near.send(Uint8Array.of(1, 2, 3));
      near.send(Uint8Array.of(4, 5));
      start();
      await until(() => recorder.shape.length > 0, 'bytes');
      expect(recorder.shape).toEqual([['ahead', [1, 2, 3, 4, 5]]]);
    });

    it('read at most so many bytes ahead', async () => {
      const { near, recorder, start } = pair();
      near.send(new Uint8Array(aheadBytesMax + 1));
      start();
      await until(() => recorder.aheadBytes === aheadBytesMax + 1, 'bytes');
      expect(recorder.shape.map(([, bytes]) => bytes.length)).toEqual([aheadBytesMax, 1]);
    });

    it('read as wanted where descriptors come, and ahead again behind them', async () => {
      const before = world.openCount();
      const { near, recorder, start } = pair();
      for (const byte of [1, 3, 5]) near.send(Uint8Array.of(byte, byte + 1));
      near.send(Uint8Array.of(7, 8, 9, 10), [world.createFd(70), world.createFd(71)]);
      near.send(Uint8Array.of(11, 12, 13));
      start();
      const count = () => recorder.shape.reduce((sum, [, bytes]) => sum + bytes.length, 0);
      await until(() => count() === 13, 'bytes');
      expect(recorder.shape).toEqual([
        ['0', [1, 2]],
        ['0', [3, 4]],
        ['0', [5, 6]],
        ['2', [7, 8]],
        ['0', [9, 10]],
        ['ahead', [11, 12, 13]],
      ]);
      expect(recorder.fds.map(world.numberOf)).toEqual([70, 71]);
      closeAll(recorder.fds);
      expect(world.openCount()).toBe(before + 2);
    });

    it('close descriptors that would be nonsense anywhere, and say so', async () => {
      const { near, recorder, start } = pair();
      const before = world.openCount();
      recorder.refuses = true;
      near.send(Uint8Array.of(1));
      near.send(Uint8Array.of(2), [world.createFd(1)]);
      near.send(Uint8Array.of(3));
      start();
      await until(() => recorder.aheadBytes === 3, 'bytes');
      expect(recorder.shape).toEqual([
        ['lost', [1, 2]],
        ['ahead', [3]],
      ]);
      expect(world.openCount()).toBe(before);
    });

    it('end at a descriptor where none is taken, leaking none', async () => {
      const { near, far, recorder } = pair();
      const before = world.openCount();
      near.send(Uint8Array.of(1), [world.createFd(1)]);
      far.start(recorder, { fdsMax: 0 });
      await until(() => recorder.ends.length > 0, 'end');
      expect(recorder.ends.map(isProtocolError)).toEqual([true]);
      expect(recorder.shape).toEqual([]);
      expect(world.openCount()).toBe(before - 1);
    });

    it('stop where the handler pauses', async () => {
      const { near, far, recorder, start } = pair();
      recorder.onData = () => far.pause();
      near.send(new Uint8Array(3 * aheadBytesMax));
      start();
      await turns();
      expect(recorder.aheadBytes).toBe(aheadBytesMax);
      far.resume();
      await turns();
      expect(recorder.aheadBytes).toBe(2 * aheadBytesMax);
    });

    it('gather what one turn sends, in order with the rest', async () => {
      const { near, recorder, start } = pair({ gather: true });
      near.send(Uint8Array.of(1, 2));
      near.send(Uint8Array.of(3));
      expect(near.queuedBytes).toBe(3);
      near.send(Uint8Array.of(4, 5), [world.createFd(4)]);
      near.send(Uint8Array.of(6));
      near.send(new Uint8Array(100_000).fill(7));
      near.send(Uint8Array.of(8));
      start();
      recorder.want = 65_536;
      await until(() => recorder.byteCount + recorder.aheadBytes === 100_007, 'bytes');
      const bytes = recorder.shape.flatMap(([, some]) => some);
      expect(bytes.slice(0, 7)).toEqual([1, 2, 3, 4, 5, 6, 7]);
      expect(bytes.at(-1)).toBe(8);
      expect(near.queuedBytes).toBe(0);
      expect(recorder.fds.map(world.numberOf)).toEqual([4]);
      closeAll(recorder.fds);
    });

    it('send what was gathered at once when told to', () => {
      const { near } = pair({ gather: true });
      near.send(Uint8Array.of(1, 2));
      expect(near.queuedBytes).toBe(2);
      near.flush();
      expect(near.queuedBytes).toBe(0);
      near.flush();
      near[Symbol.dispose]();
      near.flush();
    });

    it.each(['end', 'dispose'])('send what was gathered before %s', async (how) => {
      const { near, recorder, start } = pair({ gather: true });
      near.send(Uint8Array.of(1, 2));
      if (how === 'end') near.end();
      else near[Symbol.dispose]();
      start();
      await until(() => recorder.ends.length > 0, 'end');
      expect(recorder.shape).toEqual([['ahead', [1, 2]]]);
    });

    it('tell when everything was taken that had to wait', async () => {
      const { near, sender, recorder, start } = pair({ gather: true });
      near.send(Uint8Array.of(1));
      await turns();
      expect(sender.drainedCount).toBe(0);
      near.send(new Uint8Array(1_000_000));
      expect(near.queuedBytes).toBeGreaterThan(0);
      await turns();
      expect(sender.drainedCount).toBe(0);
      start();
      await until(() => recorder.aheadBytes === 1_000_001, 'all bytes');
      await turns();
      expect(sender.drainedCount).toBe(1);
      expect(near.queuedBytes).toBe(0);
    });
  });
}
