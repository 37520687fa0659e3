// What a client does not send: arguments of the second tier's calls that mean nothing.
import type { VfioUserClient } from '../../client.js';
import { encodeVersion, ownCapabilities } from '../../version.js';
import type { World } from '../world.js';
import { type ClientCase, type ClientRow, clientRules } from './client-rule.js';
import type { Rule } from './rule.js';

type Asks = NonNullable<ClientCase['asks']>;

const row = (name: string, says: string, asks: Asks): ClientRow => [
  name,
  says,
  { asks, answers: [], wants: 'EINVAL' },
];
/** Sent, and refused by the server: the argument as such is fine. */
const denied = (name: string, says: string, asks: Asks): ClientRow => [
  name,
  says,
  { asks, answers: [{ changes: { flags: 0x21, errno: 13 } }], wants: 'EACCES' },
];

const end = 1n << 64n;
const page = 4096;
const range = (iova: bigint, lengthBytes: bigint) => ({ iova, lengthBytes });
const last = range(end - 4096n, 4096n);
const usual = range(0n, 4096n);

const unmap =
  (where: ReturnType<typeof range>, pageBytes: number): Asks =>
  (client) =>
    client.dmaUnmapDirty(where, pageBytes);
const report =
  (where: ReturnType<typeof range>, pageBytes: number): Asks =>
  (client) =>
    client.dirtyPages.report(where, pageBytes);
const start =
  (pageBytes: number, ...ranges: ReturnType<typeof range>[]): Asks =>
  (client) =>
    client.dirtyPages.start(pageBytes, ranges);

/** The ranges and pages that both calls judge alike. */
function rangeRows(call: string, asks: typeof unmap): readonly ClientRow[] {
  return [
    denied(`${call}-last`, `${call} of the last page of all addresses`, asks(last, page)),
    row(`${call}-iova-negative`, `${call} of a negative address`, asks(range(-1n, 4096n), page)),
    row(`${call}-nothing`, `${call} of no bytes`, asks(range(0n, 0n), page)),
    row(`${call}-wraps`, `${call} past the end of all addresses`, asks(range(end - 1n, 2n), page)),
    row(`${call}-page-0`, `${call} by pages of 0 bytes`, asks(usual, 0)),
    row(`${call}-page-half`, `${call} by pages of half a byte`, asks(usual, 0.5)),
    row(`${call}-page-3`, `${call} by pages of 3 bytes`, asks(usual, 3)),
    row(`${call}-page-negative`, `${call} by pages of -1 bytes`, asks(usual, -1)),
    denied(`${call}-page-1`, `${call} by pages of a byte`, asks(range(0n, 8n), 1)),
  ];
}

const dirtyRows: readonly ClientRow[] = [
  ...rangeRows('unmap', unmap),
  ...rangeRows('report', report),
  row('start-page-3', 'logging by pages of 3 bytes', start(3)),
  row('start-iova-negative', 'logging from a negative address', start(page, range(-1n, 1n))),
  row('start-nothing', 'logging of no bytes', start(page, range(0n, 0n))),
];

const migrationRows: readonly ClientRow[] = [
  row('state-0', 'no bytes of a state', (client) => client.migration.read(0)),
  row('state-half', '1.5 bytes of a state', (client) => client.migration.read(1.5)),
  row('state-over', 'more of a state than one message has', (client) =>
    client.migration.read(ownCapabilities.maxDataXferBytes + 1),
  ),
  denied('state-1', 'a byte of a state', (client) => client.migration.read(1)),
  denied('state-most', 'as much of a state as one message has', (client) =>
    client.migration.read(ownCapabilities.maxDataXferBytes),
  ),
];

const events =
  (first: number, count: number, fdCount: number): Asks =>
  (client: VfioUserClient, world: World) => {
    const fds = Array.from({ length: fdCount }, () => world.open('file'));
    return client.setMaskEvents({ on: 'mask', index: 2, start: first, count, fds });
  };
const irqRows: readonly ClientRow[] = [
  row('events-start-negative', 'mask events from vector -1', events(-1, 1, 1)),
  row('events-none', 'mask events of no vectors', events(0, 0, 0)),
  row('events-fewer', 'fewer eventfds than vectors', events(0, 2, 1)),
  row('events-more', 'more eventfds than vectors', events(0, 1, 2)),
  row('io-fds-index', 'I/O descriptors of region -1', (client) => client.regionIoFds(-1)),
];

const multi =
  (region: number, offsetBytes: number, bytes: number): Asks =>
  (client) =>
    client.regionWriteMulti([{ region, offsetBytes, data: new Uint8Array(bytes) }]);
const many = (count: number): Asks => {
  const write = { region: 0, offsetBytes: 0, data: Uint8Array.of(1) };
  return (client) => client.regionWriteMulti(Array.from({ length: count }, () => write));
};
const mostWrites = Math.floor(ownCapabilities.maxDataXferBytes / 24);
const multiRows: readonly ClientRow[] = [
  row('multi-region-negative', 'a write to region -1', multi(-1, 0, 1)),
  row('multi-region-2-32', 'a write to region 2^32', multi(2 ** 32, 0, 1)),
  row('multi-offset-negative', 'a write at -1', multi(0, -1, 1)),
  row('multi-offset-2-53', 'a write at 2^53', multi(0, 2 ** 53, 1)),
  row('multi-nothing', 'a write of nothing', multi(0, 0, 0)),
  row('multi-9', 'a write of 9 bytes', multi(0, 0, 9)),
  denied('multi-8', 'a write of 8 bytes', multi(0, 0, 8)),
  row('multi-none', 'no writes', many(0)),
  row('multi-over', 'a write more than one message has', many(mostWrites + 1)),
  denied('multi-most', 'as many writes as one message has', many(mostWrites)),
  [
    'multi-unsupported',
    'several writes, to a server that takes one at a time',
    {
      asks: many(1),
      answers: [],
      wants: 'EOPNOTSUPP',
      version: encodeVersion(1, { ...ownCapabilities, writeMultiple: false }),
    },
  ],
];

export const featureArgumentRules: readonly Rule[] = clientRules('feature-arguments', [
  ...dirtyRows,
  ...migrationRows,
  ...irqRows,
  ...multiRows,
]);
