import { describe, expect, it } from 'vitest';
import { AssertionFailure, isLessorError, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Fd } from '../os/fd.js';
import type { Message } from './framing.js';
import { Link } from './link.js';
import { FdTable } from './testing/fd-table.js';
import { ManualClock } from './testing/manual-clock.js';
import { pipePair } from './testing/pipe.js';
import { rawFrame } from './testing/raw-peer.js';

const expected = { payloadBytesMax: 0, fdsMax: 0, deadlineMs: 1000 };

function nothing(): void {}

function linkWith(command: (message: Message) => void = nothing) {
  const table = new FdTable();
  const [near, far] = pipePair(table);
  const ends: (Error | undefined)[] = [];
  const ended = (error: Error | undefined): void => {
    ends.push(error);
  };
  const handler = { commandsTakeFds: false, commandHeader: nothing, command, ended };
  const link = new Link(near, handler, new ManualClock());
  return { link, far, table, ends };
}

function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(nothing, (error: unknown) => error);
}

describe('Link', () => {
  it.each([0, 1])(
    'is congested %i bytes past the limit of what is unsent: only past it',
    (more) => {
      const [near, far] = pipePair(new FdTable());
      Object.defineProperty(near, 'queuedBytes', { value: limits.vfioUserUnsentBytesMax + more });
      const ended = nothing;
      const handler = { commandsTakeFds: false, commandHeader: nothing, command: nothing, ended };
      const link = new Link(near, handler, new ManualClock());
      expect(link.isCongested).toBe(more > 0);
      far[Symbol.dispose]();
    },
  );

  it('has 65,536 message ids, then is full', async () => {
    const { link, far, table } = linkWith();
    const file = table.open('file');
    const waiting: Promise<unknown>[] = [];
    for (let id = 0; id < 65_536; id++) {
      waiting.push(errorOf(link.request(rawFrame(13), 13, undefined, expected, nothing)));
    }
    const error = await errorOf(link.request(rawFrame(13), 13, [file], expected, nothing));
    expect(isLessorError(error, 'QUEUE_FULL')).toBe(true);
    expect(file.isOpen).toBe(false);
    link.data(rawFrame(13, undefined, { messageId: 0x1234, flags: 1 }), [], 0);
    expect(await waiting[0x1234]).toBeUndefined();
    const again = errorOf(link.request(rawFrame(13), 13, undefined, expected, nothing));
    link.data(rawFrame(13, undefined, { messageId: 0x1234, flags: 1 }), [], 0);
    expect(await again).toBeUndefined();
    link.close(new LessorError('UNSUPPORTED', 'over'));
    expect(isLessorError(await waiting[0], 'UNSUPPORTED')).toBe(true);
    far[Symbol.dispose]();
  });

  it('lets our own bugs through, after which the peer is still judged', () => {
    const { link, ends } = linkWith(() => {
      throw new AssertionFailure('ours');
    });
    expect(() => link.data(rawFrame(4), [], 0)).toThrow(AssertionFailure);
    expect(ends).toEqual([]);
    link.data(rawFrame(4, undefined, { messageSize: 3 }), [], 0);
    expect(ends).toHaveLength(1);
  });

  it('closes what arrives after the end', () => {
    const { link, table, ends } = linkWith();
    link.end(undefined);
    link.end(undefined);
    expect(ends).toEqual([undefined]);
    const late: Fd[] = [table.open('late')];
    link.data(rawFrame(4), late, 0);
    expect(table.left.filter((name) => name === 'late')).toEqual([]);
    expect(link.wantBytes()).toBe(16);
  });

  it('gives a request the error that ended the stream', async () => {
    const { link, ends } = linkWith();
    const error = errorOf(link.request(rawFrame(13), 13, undefined, expected, nothing));
    const cause = new LessorError('DEADLINE_EXCEEDED', 'x');
    link.end(cause);
    expect(await error).toBe(cause);
    expect(ends).toEqual([cause]);
    const late = errorOf(link.request(rawFrame(13), 13, undefined, expected, nothing));
    expect(isOsError(await late, 'EPIPE')).toBe(true);
  });
});
