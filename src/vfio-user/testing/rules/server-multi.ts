// Several writes in one message, descriptors in place of registers, regions of a device's own,
// eventfds that masking signals.
import * as u from '../../../uapi/vfio-user.js';
import { fromHex, join, patched, type Rule } from './rule.js';
import { type ServerRow, serverRules } from './server-rule.js';

const entry = (region: number, offset: number, count: number) =>
  u.regionWriteMultiEntry.encode({ region, offset, count, data: new Uint8Array(8).fill(0x5a) });
const multi = (count: number, ...entries: readonly Uint8Array[]) =>
  join(u.regionWriteMulti.encode({ count }), ...entries);
const done = (count: number) => u.regionWriteMulti.encode({ count });
const three = multi(3, entry(0, 0, 4), entry(2, 8, 8), entry(0, 4, 1));
const threeCalls = ['write 0 0 4', 'write 2 8 8', 'write 0 4 1'];
const failAt = (call: string) => ({
  arrange: ({ endpoint }: { readonly endpoint: { before: (text: string) => void } }) => {
    endpoint.before = (text) => {
      if (text.startsWith(call))
        throw Object.assign(new Error('no'), { name: 'OsError', errno: 'EIO' });
    };
  },
});

const multiRows: readonly ServerRow[] = [
  [
    'order',
    'the writes are done in order',
    { payload: three, wants: 'ok', reply: done(3), calls: threeCalls },
  ],
  ['none', 'no writes at all', { payload: multi(0), wants: 'ok', reply: done(0), calls: [] }],
  [
    'no-reply',
    'posted writes are told apart',
    {
      payload: multi(1, entry(0, 0, 4)),
      changes: { flags: 0x10 },
      wants: 'silence',
      calls: ['write 0 0 4 posted'],
    },
  ],
  [
    'most',
    'as many writes as fit in a message',
    {
      payload: multi(43_690, ...new Array(43_690).fill(entry(0, 0, 1))),
      wants: 'ok',
      reply: done(43_690),
    },
  ],
  [
    'first-fails',
    'the first write fails: its errno',
    { payload: three, wants: 'EIO', calls: threeCalls.slice(0, 1), ...failAt('write 0 0') },
  ],
  [
    'later-fails',
    'a later write fails: so many were done',
    {
      payload: three,
      wants: 'ok',
      reply: done(1),
      calls: threeCalls.slice(0, 2),
      ...failAt('write 2'),
    },
  ],
  [
    'not-agreed',
    'it was not agreed on',
    { payload: three, client: { writeMultiple: false }, wants: 'ENOSYS' },
  ],
  ['short', 'no whole count', { payload: done(0).subarray(1), wants: 'EINVAL' }],
  ['less', 'fewer writes than it says', { payload: multi(2, entry(0, 0, 4)), wants: 'EINVAL' }],
  [
    'more',
    'more writes than it says',
    { payload: multi(1, entry(0, 0, 4), entry(0, 0, 4)), wants: 'EINVAL' },
  ],
  ['half', 'half a write', { payload: multi(1, entry(0, 0, 4).subarray(1)), wants: 'EINVAL' }],
  [
    'count-huge',
    '2^53 writes',
    { payload: patched(multi(1, entry(0, 0, 4)), 6, 0x20), wants: 'EINVAL' },
  ],
  ['nothing', 'a write of no bytes', { payload: multi(1, entry(0, 0, 0)), wants: 'EINVAL' }],
  ['nine', 'a write of 9 bytes', { payload: multi(1, entry(0, 0, 9)), wants: 'EINVAL' }],
  [
    'region-9',
    'a region that is not there',
    { payload: multi(1, entry(9, 0, 4)), wants: 'EINVAL' },
  ],
  ['past', 'a write past the end', { payload: multi(1, entry(0, 0x7ffd, 4)), wants: 'EINVAL' }],
  [
    'past-second',
    'one good write and one past the end: none is done',
    { payload: multi(2, entry(0, 0, 4), entry(0, 0x7ffd, 4)), wants: 'EINVAL' },
  ],
  [
    'read-only',
    'a write to a read-only region',
    { payload: multi(1, entry(1, 0, 4)), wants: 'EPERM' },
  ],
];

const full = { isFull: true } as const;
const ask = (change: object = {}) =>
  u.regionIoFds.encode({ argsz: 136, flags: 0, index: 0, count: 0, ...change });
const ioEntry = (offset: bigint, fdIndex: number, type: number, datamatch: bigint) =>
  u.ioFdEntry.encode({ offset, size: 4n, fdIndex, type, flags: 1, padding: 0, datamatch });
const told = join(
  ask({ count: 3 }),
  ioEntry(0n, 0, 0, 0x1_0000_0000n),
  ioEntry(4n, 0, 0, 0x1_0000_0001n),
  ioEntry(8n, 1, 1, 0x1_0000_0002n),
);

const ioFdRows: readonly ServerRow[] = [
  [
    'entries',
    'three entries and their two descriptors',
    { ...full, payload: ask(), wants: 'ok', reply: told, replyFiles: ['bell', 'other'] },
  ],
  [
    'argsz-large',
    'a larger argsz is not padded to',
    {
      ...full,
      payload: ask({ argsz: 1_048_576 }),
      wants: 'ok',
      reply: told,
      replyFiles: ['bell', 'other'],
    },
  ],
  [
    'argsz-small',
    'what does not fit is counted, without descriptors',
    { ...full, payload: ask({ argsz: 135 }), wants: 'ok', reply: ask({ count: 3 }) },
  ],
  [
    'other-region',
    'a region without',
    { ...full, payload: ask({ index: 1 }), wants: 'ok', reply: ask({ argsz: 16, index: 1 }) },
  ],
  [
    'client-takes-one',
    'more descriptors than the client takes',
    { ...full, payload: ask(), client: { maxMsgFds: 1 }, wants: 'E2BIG' },
  ],
  [
    'client-takes-two',
    'as many descriptors as the client takes',
    {
      ...full,
      payload: ask(),
      client: { maxMsgFds: 2 },
      wants: 'ok',
      reply: told,
      replyFiles: ['bell', 'other'],
    },
  ],
];

const askRegion = (argsz: number) =>
  u.regionInfo.encode({ argsz, flags: 0, index: 9, capOffset: 0, size: 0, offset: 0 });
const regionOf = (flags: number, capOffset: number, argsz = 80) =>
  u.regionInfo.encode({ argsz, flags, index: 9, capOffset, size: 0x1000, offset: 0 });
const sparse = '0100 0100 40000000 01000000 00000000 0000000000000000 0010000000000000';
const type = '0200 0100 00000000 86800080 02000000';

const ownRegionRows: readonly ServerRow[] = [
  [
    'caps',
    'areas and type in one chain',
    {
      ...full,
      payload: askRegion(80),
      wants: 'ok',
      reply: join(regionOf(15, 32), fromHex(sparse), fromHex(type)),
      replyFiles: ['region9'],
    },
  ],
  [
    'cut',
    'what does not fit is cut off, with its descriptor',
    { ...full, payload: askRegion(79), wants: 'ok', reply: regionOf(7, 0) },
  ],
  [
    'type-alone',
    'the type alone for a client that takes no descriptors',
    {
      ...full,
      payload: askRegion(80),
      client: { maxMsgFds: 0 },
      wants: 'ok',
      reply: join(regionOf(11, 32, 48), fromHex(type)),
    },
  ],
  [
    'type-cut',
    'the type alone does not fit',
    {
      ...full,
      payload: askRegion(47),
      client: { maxMsgFds: 0 },
      wants: 'ok',
      reply: regionOf(3, 0, 48),
    },
  ],
];

const set = (flags: number, index: number, start: number, count: number) =>
  u.irqSet.encode({ argsz: 20, flags, index, start, count });
const onMask = 4 | 8;
const onUnmask = 4 | 16;

const maskEventRows: readonly ServerRow[] = [
  [
    'mask',
    'eventfds for masking',
    {
      ...full,
      payload: set(onMask, 2, 1, 2),
      fdCount: 2,
      wants: 'ok',
      calls: ['on mask 2 1 2 file0,file1'],
    },
  ],
  [
    'unmask',
    'an eventfd for unmasking',
    {
      ...full,
      payload: set(onUnmask, 2, 0, 1),
      fdCount: 1,
      wants: 'ok',
      calls: ['on unmask 2 0 1 file0'],
    },
  ],
  [
    'unbind',
    'no eventfds: no more signals',
    { ...full, payload: set(onMask, 2, 0, 24), wants: 'ok', calls: ['on mask 2 0 24 '] },
  ],
  [
    'fewer',
    'an eventfd too few',
    { ...full, payload: set(onMask, 2, 0, 2), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'more',
    'an eventfd too many',
    { ...full, payload: set(onUnmask, 2, 0, 2), fdCount: 3, wants: 'EINVAL' },
  ],
  ['none', 'no vectors', { ...full, payload: set(onMask, 2, 0, 0), wants: 'EINVAL' }],
  [
    'request',
    'the request interrupt',
    { ...full, payload: set(onMask, 4, 0, 1), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'absent',
    'a device that cannot signal so',
    { payload: set(onMask, 2, 0, 1), fdCount: 1, wants: 'EOPNOTSUPP' },
  ],
];

export const multiRules: readonly Rule[] = [
  ...serverRules('write-multi', u.VFIO_USER_REGION_WRITE_MULTI, multiRows),
  ...serverRules('io-fds', u.VFIO_USER_DEVICE_GET_REGION_IO_FDS, ioFdRows),
  ...serverRules('own-region', u.VFIO_USER_DEVICE_GET_REGION_INFO, ownRegionRows),
  ...serverRules('mask-events', u.VFIO_USER_DEVICE_SET_IRQS, maskEventRows),
];
