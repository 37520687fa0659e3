// Descriptors that are kept for a server that comes back.
import { expect, it } from 'vitest';
import { isOsError, OsError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import { copiesOf, ReplayState } from './reconnect-replay.js';
import { kernelWorld } from './testing/world.js';

const map = { iova: 0x1000n, lengthBytes: 4096n, offsetBytes: 0n, readable: true, writable: true };

it('duplicates all or none', () => {
  const world = kernelWorld();
  const first = world.open('first');
  const second = world.open('second');
  const openBefore = world.left().length;
  Object.defineProperty(second, 'duplicate', {
    value: (): Fd => {
      throw new OsError('EMFILE', 'dup');
    },
  });
  let thrown: unknown;
  try {
    copiesOf([first, second]);
  } catch (error) {
    thrown = error;
  }
  expect(isOsError(thrown, 'EMFILE')).toBe(true);
  expect(world.left().length).toBe(openBefore);
  first.close();
  second.close();
  expect(world.left()).toEqual([]);
});

it('closes the descriptor of a map that another takes the place of', () => {
  const world = kernelWorld();
  const state = new ReplayState();
  state.addMap({ ...map, fd: world.open('first') });
  state.addMap({ ...map, fd: world.open('second') });
  expect([world.left(), state.mapCount]).toEqual([['second'], 1]);
  state.clear();
  expect([world.left(), state.mapCount]).toEqual([[], 0]);
});
