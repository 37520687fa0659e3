// What a client does not send: arguments that no message can carry, and more than the server takes.
import { limits } from '../../../base/limits.js';
import type { VfioUserClient } from '../../client.js';
import { encodeVersion, ownCapabilities } from '../../version.js';
import type { World } from '../world.js';
import { type ClientCase, type ClientRow, clientRules } from './client-rule.js';
import type { Rule } from './rule.js';

type Asks = NonNullable<ClientCase['asks']>;

/** Rejected at once: nothing is sent, and descriptors are closed. */
const refused = (asks: Asks): ClientCase => ({ asks, answers: [], wants: 'EINVAL' });
/** Sent, and the server says yes. */
const sent = (asks: Asks): ClientCase => ({ asks, answers: [{}], wants: 'gives' });
/** Sent, and the server says no. */
const denied = (asks: Asks): ClientCase => ({
  asks,
  answers: [{ changes: { flags: 0x21, errno: 13 } }],
  wants: 'EACCES',
});

const u64End = 1n << 64n;
const usualMap = { iova: 0n, lengthBytes: 4096n, offsetBytes: 0n, readable: true, writable: true };
const map =
  (change: Partial<typeof usualMap>): Asks =>
  (client: VfioUserClient, world: World) =>
    client.dmaMap({ ...usualMap, ...change, fd: world.open('file') });
const unmap =
  (iova: bigint, lengthBytes: bigint): Asks =>
  (client) =>
    client.dmaUnmap({ iova, lengthBytes });
const bind =
  (index: number, start: number, count: number): Asks =>
  (client, world) => {
    const fds = Array.from({ length: count }, () => world.open('file'));
    return client.setIrqs({ action: 'bind', index, start, fds });
  };
const unbind =
  (start: number, count: number): Asks =>
  (client) =>
    client.setIrqs({ action: 'unbind', index: 2, start, count });
const trigger =
  (...vectors: number[]): Asks =>
  (client) =>
    client.setIrqs({ action: 'trigger', index: 2, vectors });
const posted =
  (bytes: number): Asks =>
  async (client) =>
    client.regionWritePosted(0, 0, new Uint8Array(bytes));

const mapRows: readonly ClientRow[] = [
  ['map', 'a DMA map', sent(map({}))],
  [
    'map-most',
    'the largest address, length and offset',
    sent(map({ iova: u64End - 1n, lengthBytes: u64End - 1n, offsetBytes: u64End - 1n })),
  ],
  ['map-iova-negative', 'a negative address', refused(map({ iova: -1n }))],
  ['map-iova-2-64', 'an address of 2^64', refused(map({ iova: u64End }))],
  ['map-length-2-64', 'a length of 2^64', refused(map({ lengthBytes: u64End }))],
  ['map-offset-negative', 'a negative offset', refused(map({ offsetBytes: -1n }))],
  ['unmap-iova-negative', 'a negative address to unmap', refused(unmap(-1n, 1n))],
  ['unmap-length-2-64', 'a length of 2^64 to unmap', refused(unmap(0n, u64End))],
];

const indexRows: readonly ClientRow[] = [
  ['region-index-negative', 'a region index of -1', refused((client) => client.regionInfo(-1))],
  ['region-index-fraction', 'a region index of 1.5', refused((client) => client.regionInfo(1.5))],
  ['region-index-2-32', 'a region index of 2^32', refused((client) => client.regionInfo(2 ** 32))],
  [
    'region-index-most',
    'a region index of 2^32 - 1',
    denied((client) => client.regionInfo(2 ** 32 - 1)),
  ],
  ['irq-index-negative', 'an interrupt index of -1', refused((client) => client.irqInfo(-1))],
  ['bind-index-negative', 'interrupts of index -1', refused(bind(-1, 0, 1))],
  ['bind-start-negative', 'interrupts from vector -1', refused(bind(2, -1, 1))],
  ['bind-start-fraction', 'interrupts from vector 0.5', refused(bind(2, 0.5, 1))],
  ['bind-none', 'no interrupts', refused(bind(2, 0, 0))],
  [
    'bind-past-most',
    'an interrupt past the most vectors',
    refused(bind(2, limits.vectorsPerLeaseMax, 1)),
  ],
  ['bind-last', 'the last of the most vectors', sent(bind(2, limits.vectorsPerLeaseMax - 1, 1))],
  ['bind-denied', 'interrupts that the server does not take', denied(bind(2, 0, 2))],
  ['unbind-none', 'no interrupts to unbind', refused(unbind(0, 0))],
  ['unbind-start-negative', 'unbinding from vector -1', refused(unbind(-1, 2))],
  ['unbind-one', 'one interrupt to unbind', sent(unbind(0, 1))],
  ['trigger-negative', 'vector -1 to trigger', refused(trigger(-1, 1))],
  ['trigger-fraction', 'vector 0.5 to trigger', refused(trigger(0.5))],
];

const wide = limits.vfioUserDataBytesMax;
const accessRows: readonly ClientRow[] = [
  ['read-region-negative', 'a read of region -1', refused((client) => client.regionRead(-1, 0, 4))],
  [
    'read-region-2-32',
    'a read of region 2^32',
    refused((client) => client.regionRead(2 ** 32, 0, 4)),
  ],
  ['read-offset-negative', 'a read at -1', refused((client) => client.regionRead(0, -1, 4))],
  ['read-offset-2-53', 'a read at 2^53', refused((client) => client.regionRead(0, 2 ** 53, 4))],
  ['read-length-negative', 'a read of -1 bytes', refused((client) => client.regionRead(0, 0, -1))],
  [
    'read-length-fraction',
    'a read of 1.5 bytes',
    refused((client) => client.regionRead(0, 0, 1.5)),
  ],
  [
    'read-nothing',
    'a read of nothing asks nobody',
    {
      asks: (client) => client.regionRead(0, 0, 0),
      answers: [],
      wants: 'gives',
      value: new Uint8Array(0),
    },
  ],
  ['write-region-negative', 'a write to region -1', refused((client) => client.write32(-1, 0, 1))],
  ['write-offset-fraction', 'a write at 0.5', refused((client) => client.write32(0, 0.5, 1))],
  [
    'posted-most',
    'a posted write of all that one message takes',
    { asks: posted(wide), answers: [{ isSilent: true }], wants: 'gives' },
  ],
  ['posted-over', 'a posted write of more than one message takes', refused(posted(wide + 1))],
  [
    'posted-over-peer',
    'a posted write of more than the server takes',
    {
      ...refused(posted(513)),
      version: encodeVersion(1, { ...ownCapabilities, maxDataXferBytes: 512 }),
    },
  ],
];

const noFds = encodeVersion(1, { ...ownCapabilities, maxMsgFds: 0 });
const fdRows: readonly ClientRow[] = [
  [
    'map-without-fds',
    'a map with a descriptor, to a server that takes none',
    { ...refused(map({})), wants: 'EOPNOTSUPP', version: noFds },
  ],
  [
    'bind-without-fds',
    'an interrupt for a server that takes no descriptors',
    { ...refused(bind(2, 0, 2)), wants: 'EOPNOTSUPP', version: noFds },
  ],
  [
    'bind-one-by-one',
    'interrupts for a server that takes one descriptor at a time',
    {
      asks: bind(2, 0, 2),
      answers: [{}, {}],
      wants: 'gives',
      version: encodeVersion(1, { ...ownCapabilities, maxMsgFds: 1 }),
    },
  ],
  [
    'bind-half',
    'interrupts of which the server takes only the first',
    {
      asks: bind(2, 0, 2),
      answers: [{}, { changes: { flags: 0x21, errno: 13 } }],
      wants: 'EACCES',
      version: encodeVersion(1, { ...ownCapabilities, maxMsgFds: 1 }),
    },
  ],
];

export const argumentRules: readonly Rule[] = clientRules('arguments', [
  ...mapRows,
  ...indexRows,
  ...accessRows,
  ...fdRows,
]);
