import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isProtocolError } from '../base/errors.js';
import { closeAll } from '../os/fd.js';
import { encodeFrame, type Frame, FrameReader } from './frames.js';
import { FakeFds } from './testing/pipe.js';

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const open = { messageBytesMax: 1000, fdsMax: 4 };

function failure(call: () => void): string | undefined {
  try {
    call();
  } catch (error) {
    return isProtocolError(error) ? `${error.errno} ${error.message}` : `other ${String(error)}`;
  }
  return undefined;
}

describe('frames', () => {
  test('cuts messages out of any pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'ü', '"', '😀') })),
        fc.array(fc.integer({ min: 1, max: 7 })),
        (texts, cuts) => {
          const stream = Buffer.concat(texts.map((text) => bytesOf(`${text}\0`)));
          const reader = new FrameReader(open);
          const got: string[] = [];
          let at = 0;
          let cut = 0;
          while (at < stream.length) {
            const count = cuts.length === 0 ? 3 : cuts[cut++ % cuts.length]!;
            reader.feed(stream.subarray(at, at + count), [], 0, ({ text }) => got.push(text));
            at += count;
          }
          expect(got).toEqual(texts);
          expect(reader.isPartial).toBe(false);
        },
      ),
    );
  });

  test('takes a message of the largest size and not one byte more', () => {
    const reader = new FrameReader({ messageBytesMax: 10, fdsMax: 0 });
    const got: string[] = [];
    reader.feed(bytesOf('123456789\0'), [], 0, ({ text }) => got.push(text));
    expect(got).toEqual(['123456789']);
    expect(failure(() => reader.feed(bytesOf('1234567890'), [], 0, () => {}))).toContain(
      'EMSGSIZE message at byte 10: too large',
    );
  });

  test('refuses what is not UTF-8', () => {
    const reader = new FrameReader(open);
    const bytes = Uint8Array.of(0x22, 0xc0, 0x80, 0x22, 0);
    expect(failure(() => reader.feed(bytes, [], 0, () => {}))).toContain('not UTF-8');
  });

  test('hands out no more once it was disposed', () => {
    const reader = new FrameReader(open);
    const got: string[] = [];
    reader.feed(bytesOf('a\0b\0'), [], 0, ({ text }) => {
      got.push(text);
      reader[Symbol.dispose]();
    });
    expect(got).toEqual(['a']);
  });
});

describe('descriptors in frames', () => {
  function read(pieces: readonly [string, number][], refusedCount = 0) {
    const fds = new FakeFds();
    const reader = new FrameReader(open);
    const frames: Frame[] = [];
    const failed = failure(() => {
      for (const [text, count] of pieces) {
        const given = Array.from({ length: count }, () => fds.create());
        const refused = count > 0 ? refusedCount : 0;
        reader.feed(bytesOf(text), given, refused, (frame) => frames.push(frame));
      }
    });
    const seen = frames.map((frame) => [frame.text, frame.fds.length, frame.refusedCount]);
    for (const frame of frames) closeAll(frame.fds);
    reader[Symbol.dispose]();
    expect(fds.open.size).toBe(0);
    return { seen, failed };
  }

  test('belong to the message that begins with them', () => {
    expect(read([['one\0', 2]]).seen).toEqual([['one', 2, 0]]);
    expect(
      read([
        ['on', 1],
        ['e\0', 0],
        ['two\0', 0],
      ]).seen,
    ).toEqual([
      ['one', 1, 0],
      ['two', 0, 0],
    ]);
  });

  test('belong to the last message that begins in the read', () => {
    expect(
      read([
        ['on', 0],
        ['e\0two\0thr', 3],
        ['ee\0', 0],
      ]).seen,
    ).toEqual([
      ['one', 0, 0],
      ['two', 0, 0],
      ['three', 3, 0],
    ]);
    expect(read([['one\0two\0', 1]]).seen).toEqual([
      ['one', 0, 0],
      ['two', 1, 0],
    ]);
  });

  test('that screening closed are counted', () => {
    expect(read([['one\0', 1]], 1).seen).toEqual([['one', 1, 1]]);
  });

  test.each([
    ['in the middle of a message', ['ab', 0], ['cd', 1]],
    ['in the middle, with its end', ['ab', 0], ['c\0', 1]],
    ['in the middle, with the terminator alone', ['ab', 0], ['\0', 1]],
  ] as [string, [string, number], [string, number]][])('%s end the stream', (_, one, two) => {
    expect(read([one, two]).failed).toContain('EPROTO fds');
  });

  test('are at most fdsMax, refused ones included', () => {
    expect(read([['a\0', 4]]).failed).toBeUndefined();
    expect(read([['a\0', 5]]).failed).toContain('more than 4');
    expect(read([['a\0', 4]], 1).failed).toContain('more than 4');
  });

  test('that never got their whole message are closed', () => {
    expect(read([['part of', 2]])).toEqual({ seen: [], failed: undefined });
  });
});

test('a message in bytes', () => {
  const bytes = encodeFrame({ parameters: { text: 'ü\0', none: undefined } });
  expect(Buffer.from(bytes).toString('latin1')).toBe(
    Buffer.from('{"parameters":{"text":"ü\\u0000"}}\0', 'utf8').toString('latin1'),
  );
});
