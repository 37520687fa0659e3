// Turns what the taps saw into the recordings that `npm test` decodes.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Seen } from '../tap.js';
import { type RecordedMessage, type Recording, vectorFolder } from './format.js';

/** Messages that differ only in their values teach little after a few. */
const perKindMax = 3;
const messageBytesMax = 5000;

function kindOf({ from, command, flags, fdCount, bytes }: Seen): string {
  return [from, command, flags, fdCount, bytes.length].join(' ');
}

/** The first few of every kind, in the order in which they passed. */
export function selectMessages(seen: readonly Seen[]): readonly RecordedMessage[] {
  const counts = new Map<string, number>();
  return seen.flatMap((message) => {
    const kind = kindOf(message);
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    if (count > perKindMax || message.bytes.length > messageBytesMax) return [];
    const hex = Buffer.from(message.bytes).toString('hex');
    return [{ from: message.from, fds: message.fdCount, hex }];
  });
}

export function writeVectors(qemu: string, recordings: ReadonlyMap<string, readonly Seen[]>): void {
  for (const [name, seen] of recordings) {
    const recording: Recording = { name, qemu, messages: selectMessages(seen) };
    const text = `${JSON.stringify(recording, undefined, 2)}\n`;
    writeFileSync(join(vectorFolder, `${name}.json`), text);
  }
}
