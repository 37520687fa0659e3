import { describe, expect, it } from 'vitest';
import { errnoOf, isLessorError, isProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import { FrameReader, type Header, type Message } from './framing.js';
import { FdTable } from './testing/fd-table.js';
import { rawFrame } from './testing/raw-peer.js';

interface Seen {
  readonly headers: [Header, number][];
  readonly messages: Message[];
}

function reader(): [FrameReader, Seen] {
  const seen: Seen = { headers: [], messages: [] };
  const sink = {
    header: (header: Header, fdCount: number) => seen.headers.push([header, fdCount]),
    message: (message: Message) => seen.messages.push(message),
    isReady: () => true,
  };
  return [new FrameReader(sink), seen];
}

/** Feeds a stream in reads of at most `readBytes`, descriptors with the first byte of a send. */
function feed(
  target: FrameReader,
  sends: readonly { bytes: Uint8Array; fds: Fd[] }[],
  readBytes: number,
): void {
  const rest = sends.map(({ bytes, fds }) => ({ bytes, fds }));
  while (rest.length > 0) {
    const parts: Uint8Array[] = [];
    let room = Math.min(readBytes, target.wantBytes());
    let fds: Fd[] = [];
    while (room > 0 && rest.length > 0 && fds.length === 0) {
      const first = rest[0] as { bytes: Uint8Array; fds: Fd[] };
      parts.push(first.bytes.subarray(0, room));
      ({ fds } = first);
      first.fds = [];
      const taken = Math.min(room, first.bytes.length);
      first.bytes = first.bytes.subarray(taken);
      room -= taken;
      if (first.bytes.length === 0) rest.shift();
    }
    target.take(new Uint8Array(Buffer.concat(parts)), fds, 0);
  }
}

function thrownBy(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

const payload = Uint8Array.from({ length: 21 }, (_, index) => index + 1);

describe('FrameReader', () => {
  it('gives every message its own bytes and descriptors, wherever the reads end', () => {
    for (let readBytes = 1; readBytes <= 60; readBytes++) {
      const table = new FdTable();
      const [target, seen] = reader();
      const files = ['a', 'b', 'c'].map((name) => table.open(name));
      const sends = [
        { bytes: rawFrame(2, payload, { messageId: 1 }), fds: files.slice(0, 1) },
        { bytes: rawFrame(13, undefined, { messageId: 2 }), fds: [] },
        { bytes: rawFrame(8, payload.subarray(0, 3), { messageId: 3 }), fds: files.slice(1) },
        { bytes: rawFrame(13, undefined, { messageId: 4 }), fds: [] },
      ];
      feed(target, sends, readBytes);
      const shown = seen.messages.map((message) => [
        message.header.messageId,
        message.payload.length,
        message.fds.map((fd) => table.nameOf(fd)).join(''),
      ]);
      expect(shown).toEqual([
        [1, 21, 'a'],
        [2, 0, ''],
        [3, 3, 'bc'],
        [4, 0, ''],
      ]);
      expect(seen.messages[0]?.payload).toEqual(payload);
      expect(seen.headers.map(([, fdCount]) => fdCount)).toEqual([1, 0, 2, 0]);
      for (const message of seen.messages) closeAll(message.fds);
      expect(table.left).toEqual([]);
    }
  });

  it('takes one stream cut at every byte boundary into two sends', () => {
    const whole = rawFrame(10, payload, { messageId: 9 });
    for (let cut = 1; cut < whole.length; cut++) {
      const [target, seen] = reader();
      const sends = [whole.subarray(0, cut), whole.subarray(cut)];
      feed(
        target,
        sends.map((bytes) => ({ bytes, fds: [] })),
        64,
      );
      expect(seen.messages.map((message) => message.payload)).toEqual([payload]);
    }
  });

  it('owns descriptors that come with any byte of a header, and refuses them in a payload', () => {
    const whole = rawFrame(2, payload);
    for (let cut = 1; cut < whole.length; cut++) {
      const table = new FdTable();
      const [target, seen] = reader();
      const late = table.open('late');
      const sends = [
        { bytes: whole.subarray(0, cut), fds: [] },
        { bytes: whole.subarray(cut), fds: [late] },
      ];
      const error = thrownBy(() => feed(target, sends, 64));
      if (cut < 16) {
        expect(error).toBeUndefined();
        expect(seen.messages[0]?.fds).toEqual([late]);
        closeAll(seen.messages[0]?.fds ?? []);
      } else {
        expect(isLessorError(error, 'FD_UNEXPECTED')).toBe(true);
        expect(seen.messages).toEqual([]);
        target.discard();
      }
      expect(table.left).toEqual([]);
    }
  });

  it('closes what it holds when it is discarded, at every byte', () => {
    const whole = rawFrame(2, payload);
    for (let cut = 1; cut < whole.length; cut++) {
      const table = new FdTable();
      const [target, seen] = reader();
      feed(target, [{ bytes: whole.subarray(0, cut), fds: [table.open('held')] }], 64);
      expect(table.left).toEqual(['held']);
      target.discard();
      expect(table.left).toEqual([]);
      expect(target.wantBytes()).toBe(16);
      feed(target, [{ bytes: whole, fds: [] }], 64);
      expect(seen.messages).toHaveLength(1);
    }
  });

  it('counts descriptors that the screening closed', () => {
    const [target, seen] = reader();
    target.take(rawFrame(13).subarray(0, 4), [], 2);
    target.take(rawFrame(13).subarray(4), [], 0);
    expect(seen.headers[0]?.[1]).toBe(2);
    expect(seen.messages[0]?.refusedCount).toBe(2);
  });

  it('adds up descriptors over the reads of one header, to the limit', () => {
    const table = new FdTable();
    const header = rawFrame(13);
    const [target, seen] = reader();
    for (let at = 0; at < 16; at++) target.take(header.subarray(at, at + 1), [table.open('x')], 0);
    expect(limits.vfioUserFdsMax).toBe(16);
    expect(seen.messages[0]?.fds).toHaveLength(16);
    closeAll(seen.messages[0]?.fds ?? []);
    for (let at = 0; at < 8; at++) {
      target.take(header.subarray(at, at + 1), [table.open('x'), table.open('y')], 0);
    }
    const error = thrownBy(() => target.take(header.subarray(8, 9), [table.open('z')], 0));
    expect(isLessorError(error, 'FD_UNEXPECTED')).toBe(true);
    target.discard();
    expect(table.left).toEqual([]);
  });

  it.each([
    ['15 bytes', { messageSize: 15 }, false],
    ['no bytes', { messageSize: 0 }, false],
    ['16 bytes', { messageSize: 16 }, true],
    ['the most bytes', { messageSize: limits.vfioUserMessageBytesMax }, true],
    ['one byte more', { messageSize: limits.vfioUserMessageBytesMax + 1 }, false],
    ['4 GiB', { messageSize: 0xffffffff }, false],
    ['type 0', { flags: 0 }, true],
    ['type 1', { flags: 1 }, true],
    ['type 2', { flags: 2 }, false],
    ['type 15', { flags: 15 }, false],
    ['other flags', { flags: 0xfffffff0 }, true],
  ])('judges a header of %s', (_what, changes, isGood) => {
    const [target, seen] = reader();
    const error = thrownBy(() => target.take(rawFrame(9, undefined, changes), [], 0));
    expect(error === undefined).toBe(isGood);
    expect(seen.headers).toHaveLength(isGood ? 1 : 0);
    if (isGood) return;
    expect(isProtocolError(error) || isLessorError(error, 'FRAME_TOO_LARGE')).toBe(true);
    expect(errnoOf(error)).toBeDefined();
  });
});
