// Every state with every other: the way between them.
import { describe, expect, it } from 'vitest';
import type { MigrationState } from '../endpoint.js';
import { bitmapBytes } from './dirty-bitmap.js';
import { isSaving, migrationPath, migrationStates, stateNumbers, stateOf } from './states.js';

/** From, to, the states gone through; a dash for none. */
const ways = new Map<string, string>([
  ['stop running', 'running'],
  ['stop stop-copy', 'stop-copy'],
  ['stop resuming', 'resuming'],
  ['stop pre-copy', 'running pre-copy'],
  ['running stop', 'stop'],
  ['running stop-copy', 'stop stop-copy'],
  ['running resuming', 'stop resuming'],
  ['running pre-copy', 'pre-copy'],
  ['stop-copy stop', 'stop'],
  ['stop-copy running', 'stop running'],
  ['stop-copy resuming', 'stop resuming'],
  ['resuming stop', 'stop'],
  ['resuming running', 'stop running'],
  ['resuming stop-copy', 'stop stop-copy'],
  ['resuming pre-copy', 'stop running pre-copy'],
  ['pre-copy running', 'running'],
  ['pre-copy stop', 'running stop'],
  ['pre-copy stop-copy', 'stop-copy'],
  ['pre-copy resuming', 'running stop resuming'],
]);

function wanted(from: MigrationState, to: MigrationState): readonly string[] | undefined {
  if (from === to && from !== 'error') return [];
  return ways.get(`${from} ${to}`)?.split(' ');
}

describe('migration states', () => {
  const pairs = migrationStates.flatMap((from) => migrationStates.map((to) => [from, to] as const));

  it('are six, as numbered by the kernel', () => {
    expect(migrationStates.map((state) => stateNumbers[state])).toEqual([0, 1, 2, 3, 4, 6]);
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].map(stateOf)).toEqual([
      'error',
      'stop',
      'running',
      'stop-copy',
      'resuming',
      undefined,
      'pre-copy',
      undefined,
      undefined,
    ]);
  });

  it.each(pairs)('from %s to %s', (from, to) => {
    expect(migrationPath(from, to, true)).toEqual(wanted(from, to));
  });

  it.each(pairs)('from %s to %s without pre-copy', (from, to) => {
    const path = migrationPath(from, to, false);
    expect(path).toEqual(to === 'pre-copy' ? undefined : wanted(from, to));
  });

  it.each(pairs)('from %s to %s saves at the ends alone', (from, to) => {
    const inner = migrationPath(from, to, true)?.slice(0, -1) ?? [];
    expect(inner.filter(isSaving)).toEqual([]);
  });
});

it.each([
  [1n, 4096n, 8n],
  [64n * 4096n, 4096n, 8n],
  [64n * 4096n + 1n, 4096n, 16n],
  [1n << 64n, 1n << 63n, 8n],
])('%i bytes in pages of %i take a bitmap of %i', (lengthBytes, pageBytes, bytes) => {
  expect(bitmapBytes(lengthBytes, pageBytes)).toBe(bytes);
});
