// Where a connection stands between two states of the device.
import { expect, it } from 'vitest';
import { isOsError } from '../../base/errors.js';
import { MigrationSession } from './session.js';

it('goes no further once the connection is not served any more', async () => {
  const arcs: string[] = [];
  const session = new MigrationSession({
    preCopy: false,
    transition: async (from, to) => {
      arcs.push(`${from} ${to}`);
    },
    readData: () => new Uint8Array(0),
    writeData: () => {},
  });
  const error = await session
    .go('stop-copy', () => arcs.length === 0)
    .catch((reason: unknown) => reason);
  expect(isOsError(error, 'ECANCELED')).toBe(true);
  expect([arcs, session.state]).toEqual([['running stop'], 'stop']);
});
