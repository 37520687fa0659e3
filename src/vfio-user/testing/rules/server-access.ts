// Region access by message, and the descriptors that stand in for it.
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import { fromHex, join, type Rule } from './rule.js';
import { type ServerRow, serverRules } from './server-rule.js';

const access = (region: number, offset: number, count: number, dataBytes = 0) => {
  const payload = new Uint8Array(16 + dataBytes).fill(0x5a);
  u.regionAccess.encodeAt({ offset, region, count }, payload, 0);
  return payload;
};
const max = limits.vfioUserDataBytesMax;
const farOffset = fromHex('0000000000002000 00000000 04000000');

const readRows: readonly ServerRow[] = [
  [
    'echo',
    'data follow the echoed request',
    {
      payload: access(0, 0x7ffd, 3),
      wants: 'ok',
      reply: join(access(0, 0x7ffd, 3), fromHex('010203')),
      calls: ['read 0 32765 3'],
      arrange: ({ endpoint }) => endpoint.memory[0]?.set([1, 2, 3], 0x7ffd),
    },
  ],
  [
    'read-only',
    'a read-only region can be read',
    { payload: access(1, 0, 4), wants: 'ok', calls: ['read 1 0 4'] },
  ],
  [
    'most',
    'the most bytes of one message',
    {
      payload: access(2, 0, max),
      wants: 'ok',
      reply: join(access(2, 0, max), new Uint8Array(max)),
    },
  ],
  ['too-many', 'one byte more than the most', { payload: access(2, 0, max + 1), wants: 'EINVAL' }],
  [
    'nothing',
    'no bytes: a header alone, the device not asked',
    { payload: access(0, 0, 0), wants: 'ok', reply: fromHex(''), calls: [] },
  ],
  [
    'nothing-at-end',
    'no bytes at the very end',
    { payload: access(0, 0x8000, 0), wants: 'ok', reply: fromHex(''), calls: [] },
  ],
  ['nothing-past-end', 'no bytes past the end', { payload: access(0, 0x8001, 0), wants: 'EINVAL' }],
  [
    'last-byte',
    'the last byte',
    { payload: access(0, 0x7fff, 1), wants: 'ok', calls: ['read 0 32767 1'] },
  ],
  ['past-end', 'one byte past the end', { payload: access(0, 0x7ffd, 4), wants: 'EINVAL' }],
  ['at-end', 'a byte at the end', { payload: access(0, 0x8000, 1), wants: 'EINVAL' }],
  [
    'far-out',
    'an offset that the count takes past 2^53',
    { payload: access(0, 2 ** 53 - 1, 4), wants: 'EINVAL' },
  ],
  ['offset-2-53', 'an offset of 2^53', { payload: farOffset, wants: 'EINVAL' }],
  ['absent-region', 'a region that is not there', { payload: access(3, 0, 1), wants: 'EINVAL' }],
  [
    'absent-region-nothing',
    'no bytes of a region that is not there',
    { payload: access(3, 0, 0), wants: 'EPERM' },
  ],
  ['region-9', 'a region one past the last', { payload: access(9, 0, 4), wants: 'EINVAL' }],
  ['region-max', 'region 2^32 - 1', { payload: access(0xffff_ffff, 0, 4), wants: 'EINVAL' }],
  ['data', 'a read with data', { payload: access(0, 0, 4, 4), wants: 'EINVAL' }],
  [
    'short',
    'a payload one byte short',
    { payload: access(0, 0, 4).subarray(0, 15), wants: 'EINVAL' },
  ],
  ['empty', 'no payload', { wants: 'EINVAL' }],
  [
    'descriptor',
    'a descriptor where none is due',
    { payload: access(0, 0, 4), fdCount: 1, wants: 'end' },
  ],
  [
    'no-reply',
    'No_reply is obeyed',
    { payload: access(0, 0, 4), changes: { flags: 0x10 }, wants: 'silence', calls: ['read 0 0 4'] },
  ],
];

const writeRows: readonly ServerRow[] = [
  [
    'echo',
    'the request is echoed without its data',
    {
      payload: access(0, 0x7ffd, 3, 3),
      wants: 'ok',
      reply: access(0, 0x7ffd, 3),
      calls: ['write 0 32765 3'],
    },
  ],
  [
    'most',
    'the most bytes of one message',
    { payload: access(2, 1, max, max), wants: 'ok', reply: access(2, 1, max) },
  ],
  [
    'too-many',
    'one byte more than the most',
    { payload: access(2, 0, max + 1, max + 1), wants: 'EINVAL' },
  ],
  [
    'nothing',
    'no bytes: a header alone, the device not asked',
    { payload: access(0, 0, 0), wants: 'ok', reply: fromHex(''), calls: [] },
  ],
  ['past-end', 'one byte past the end', { payload: access(0, 0x7ffd, 4, 4), wants: 'EINVAL' }],
  ['read-only', 'a read-only region', { payload: access(1, 0, 4, 4), wants: 'EPERM' }],
  ['absent-region', 'a region that is not there', { payload: access(8, 0, 4, 4), wants: 'EINVAL' }],
  ['region-9', 'a region one past the last', { payload: access(9, 0, 4, 4), wants: 'EINVAL' }],
  ['less-data', 'less data than the count says', { payload: access(0, 0, 4, 3), wants: 'EINVAL' }],
  ['more-data', 'more data than the count says', { payload: access(0, 0, 4, 5), wants: 'EINVAL' }],
  ['no-data', 'no data at all', { payload: access(0, 0, 4), wants: 'EINVAL' }],
  ['nothing-with-data', 'no bytes, but data', { payload: access(0, 0, 0, 1), wants: 'EINVAL' }],
  [
    'short',
    'a payload one byte short',
    { payload: access(0, 0, 0).subarray(0, 15), wants: 'EINVAL' },
  ],
  [
    'descriptor',
    'a descriptor where none is due',
    { payload: access(0, 0, 4, 4), fdCount: 1, wants: 'end' },
  ],
  [
    'posted',
    'No_reply is done and not answered',
    {
      payload: access(0, 0, 4, 4),
      changes: { flags: 0x10 },
      wants: 'silence',
      calls: ['write 0 0 4 posted'],
    },
  ],
  [
    'posted-failure',
    'No_reply is not answered when it fails, either',
    { payload: access(1, 0, 4, 4), changes: { flags: 0x10 }, wants: 'silence' },
  ],
];

const ioFds = (change: Partial<ReturnType<typeof u.regionIoFds.decode>> = {}) =>
  u.regionIoFds.encode({ argsz: 16, flags: 0, index: 0, count: 0, ...change });

const ioFdRows: readonly ServerRow[] = [
  [
    'none',
    'a region without any has an empty list',
    { payload: ioFds(), wants: 'ok', reply: ioFds() },
  ],
  [
    'argsz-most',
    'an argsz of 1 MiB',
    { payload: ioFds({ argsz: 1_048_576 }), wants: 'ok', reply: ioFds() },
  ],
  ['argsz-over', 'an argsz over 1 MiB', { payload: ioFds({ argsz: 1_048_577 }), wants: 'EINVAL' }],
  ['argsz-15', 'an argsz below the struct', { payload: ioFds({ argsz: 15 }), wants: 'EINVAL' }],
  ['flags', 'a flag', { payload: ioFds({ flags: 1 }), wants: 'EINVAL' }],
  ['count', 'a count', { payload: ioFds({ count: 1 }), wants: 'EINVAL' }],
  ['index-9', 'an index one past the last', { payload: ioFds({ index: 9 }), wants: 'EINVAL' }],
  [
    'absent-region',
    'a region that is not there',
    { payload: ioFds({ index: 3 }), wants: 'EINVAL' },
  ],
  ['short', 'a payload one byte short', { payload: ioFds().subarray(0, 15), wants: 'EINVAL' }],
  ['long', 'a payload one byte long', { payload: join(ioFds(), fromHex('00')), wants: 'EINVAL' }],
  ['descriptor', 'a descriptor where none is due', { payload: ioFds(), fdCount: 1, wants: 'end' }],
];

export const accessRules: readonly Rule[] = [
  ...serverRules('region-read', u.VFIO_USER_REGION_READ, readRows),
  ...serverRules('region-write', u.VFIO_USER_REGION_WRITE, writeRows),
  ...serverRules('region-io-fds', u.VFIO_USER_DEVICE_GET_REGION_IO_FDS, ioFdRows),
];
