// Memory of the client by message: what it serves, and what it refuses its server.
import { OsError } from '../../../base/errors.js';
import * as u from '../../../uapi/vfio-user.js';
import type { DmaHandler } from '../../dma/handler.js';
import { commandRules, type ServerCommandCase, type ServerCommandRow } from './client-rule.js';
import { fromHex, join, type Rule } from './rule.js';

const servedBytes = 0x2000n;

function reach(iova: bigint): void {
  if (iova >= servedBytes) throw new OsError('EFAULT', 'dma');
}

/** Sevens below 0x2000. */
const dma: DmaHandler = {
  read(iova, lengthBytes) {
    reach(iova);
    return new Uint8Array(lengthBytes).fill(7);
  },
  write: reach,
};

const access = (address: bigint, count: number) => u.dmaAccess.encode({ address, count });
const end = 1n << 64n;
const most = 64;
const options = { dma, capabilities: { maxDataXferBytes: most } };
const data = (count: number) => new Uint8Array(count).fill(7);
const farCount = fromHex('0000000000000000 0000000000002000');

type Row = Omit<ServerCommandCase, 'command'>;

function rowsOf(command: number): readonly ServerCommandRow[] {
  const isWrite = command === u.VFIO_USER_DMA_WRITE;
  const message = (address: bigint, count: number) =>
    isWrite ? join(access(address, count), data(count)) : access(address, count);
  const reply = (address: bigint, count: number) =>
    isWrite ? access(address, count) : join(access(address, count), data(count));
  const good = { payload: message(0x1000n, 4), options };
  const row = (name: string, says: string, wanted: Row): ServerCommandRow => [
    name,
    says,
    { command, options, ...wanted },
  ];
  const bad = (name: string, says: string, payload: Uint8Array): ServerCommandRow =>
    row(name, says, { payload, wants: 'EINVAL' });
  return [
    row('served', 'memory that there is', { ...good, wants: 'ok', reply: reply(0x1000n, 4) }),
    row('most', 'as many bytes as the client said', {
      payload: message(0n, most),
      wants: 'ok',
      reply: reply(0n, most),
    }),
    row('too-many', 'one byte more than the client said', {
      payload: message(0n, most + 1),
      wants: 'E2BIG',
    }),
    row('unmapped', 'memory that is not there', { payload: message(0x2000n, 4), wants: 'EFAULT' }),
    row('last-address', 'the last bytes of all addresses', {
      payload: message(end - 4n, 4),
      wants: 'EFAULT',
    }),
    bad('wraps', 'an address that wraps with its count', message(end - 3n, 4)),
    bad('nothing', 'no bytes', access(0n, 0)),
    bad('count-2-53', 'a count of 2^53', farCount),
    bad('short', 'a payload one byte short', access(0n, 4).subarray(0, 15)),
    bad('empty', 'no payload', fromHex('')),
    bad('more-data', 'a byte of data more', join(message(0n, 4), data(1))),
    bad('less-data', 'a byte less', message(0n, 4).subarray(0, isWrite ? 19 : 15)),
    row('unknown-flag', 'flag 6', { ...good, changes: { flags: 0x40 }, wants: 'EINVAL' }),
    row('error-flag', 'the Error flag', { ...good, changes: { flags: 0x20 }, wants: 'EINVAL' }),
    row('errno', 'an errno', { ...good, changes: { errno: 5 }, wants: 'EINVAL' }),
    row('descriptor', 'a descriptor, which is closed', { ...good, fdCount: 1, wants: 'EINVAL' }),
    row('no-reply', 'No_reply is obeyed', { ...good, changes: { flags: 0x10 }, wants: 'silence' }),
    row('no-reply-failure', 'No_reply is obeyed on failure', {
      payload: message(0x2000n, 4),
      changes: { flags: 0x10 },
      wants: 'silence',
    }),
    [
      'unserved',
      'a client that serves no memory',
      { command, payload: message(0n, 4), wants: 'ENOSYS' },
    ],
  ];
}

export const clientDmaRules: readonly Rule[] = [
  ...commandRules('dma-read', rowsOf(u.VFIO_USER_DMA_READ)),
  ...commandRules('dma-write', rowsOf(u.VFIO_USER_DMA_WRITE)),
];
