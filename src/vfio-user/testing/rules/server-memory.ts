// Memory of the client and its interrupts: DMA_MAP, DMA_UNMAP, DEVICE_SET_IRQS.
import { OsError } from '../../../base/errors.js';
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import { fromHex, join, patched, type Rule } from './rule.js';
import { type ServerRow, serverRules } from './server-rule.js';

const u64Max = (1n << 64n) - 1n;
const map = (change: Partial<ReturnType<typeof u.dmaMap.decode>> = {}) => {
  const usual = { argsz: 32, flags: 3, offset: 0x3000n, address: 0x10000n, size: 0x2000n };
  return u.dmaMap.encode({ ...usual, ...change });
};
const called = (access: string, file: string) => [`map 65536 8192 12288 ${access} ${file}`];

const mapRows: readonly ServerRow[] = [
  [
    'descriptor',
    'the descriptor is handed on',
    { payload: map(), fdCount: 1, wants: 'ok', reply: fromHex(''), calls: called('rw', 'file0') },
  ],
  [
    'no-descriptor',
    'memory by message has no descriptor',
    { payload: map(), wants: 'ok', reply: fromHex(''), calls: called('rw', 'none') },
  ],
  [
    'no-access',
    'no flag is neither read nor write',
    { payload: map({ flags: 0 }), wants: 'ok', calls: called('--', 'none') },
  ],
  [
    'read',
    'flag 0 is read',
    { payload: map({ flags: 1 }), wants: 'ok', calls: called('r-', 'none') },
  ],
  [
    'write',
    'flag 1 is write',
    { payload: map({ flags: 2 }), wants: 'ok', calls: called('-w', 'none') },
  ],
  ['argsz-large', 'a larger argsz is fine', { payload: map({ argsz: 64 }), wants: 'ok' }],
  [
    'address-end',
    'a range may end at 2^64',
    { payload: map({ address: u64Max - 0x1fffn }), wants: 'ok' },
  ],
  [
    'offset-end',
    'an offset may end at 2^64',
    { payload: map({ offset: u64Max - 0x1fffn }), fdCount: 1, wants: 'ok' },
  ],
  [
    'argsz-31',
    'an argsz below the struct',
    { payload: map({ argsz: 31 }), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'short',
    'a payload one byte short',
    { payload: map().subarray(0, 31), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'long',
    'a payload one byte long',
    { payload: join(map(), fromHex('00')), fdCount: 1, wants: 'EINVAL' },
  ],
  ['empty', 'no payload', { fdCount: 1, wants: 'EINVAL' }],
  ['no-size', 'a size of 0', { payload: map({ size: 0n }), fdCount: 1, wants: 'EINVAL' }],
  [
    'address-wraps',
    'an address that wraps with its size',
    { payload: map({ address: u64Max - 0x1ffen }), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'offset-wraps',
    'an offset that wraps with the size',
    { payload: map({ offset: u64Max - 0x1ffen }), fdCount: 1, wants: 'EINVAL' },
  ],
  [
    'size-max',
    'a size of 2^64 - 1',
    { payload: map({ size: u64Max }), fdCount: 1, wants: 'EINVAL' },
  ],
  ['high-flag', 'flag 31', { payload: patched(map(), 7, 0x80), fdCount: 1, wants: 'EINVAL' }],
  ['two-descriptors', 'two descriptors', { payload: map(), fdCount: 2, wants: 'EINVAL' }],
  [
    'most-descriptors',
    'as many descriptors as a message may have',
    { payload: map(), fdCount: limits.vfioUserFdsMax, wants: 'EINVAL' },
  ],
  [
    'more-descriptors',
    'a descriptor more than a message may have',
    { payload: map(), fdCount: limits.vfioUserFdsMax + 1, wants: 'end' },
  ],
  [
    'screened',
    'a descriptor that was screened',
    { payload: map(), screenedCount: 1, wants: 'EBADF' },
  ],
  [
    'screened-more',
    'a descriptor, and one that was screened',
    { payload: map(), fdCount: 1, screenedCount: 1, wants: 'EINVAL' },
  ],
  [
    'two-pieces',
    'descriptors may come with several pieces of a header',
    {
      payload: map(),
      pieces: [
        { bytes: 8, fdCount: 1 },
        { bytes: 7, fdCount: 0 },
      ],
      wants: 'ok',
      calls: called('rw', 'file0'),
    },
  ],
  [
    'most-in-pieces',
    'as many descriptors as a message may have, in two pieces',
    {
      payload: map(),
      pieces: [
        { bytes: 8, fdCount: 8 },
        { bytes: 8, fdCount: 8 },
      ],
      wants: 'EINVAL',
    },
  ],
  [
    'more-in-pieces',
    'a descriptor more than a message may have, in two pieces',
    {
      payload: map(),
      pieces: [
        { bytes: 8, fdCount: 8 },
        { bytes: 8, fdCount: 9 },
      ],
      wants: 'end',
    },
  ],
  [
    'late-descriptor',
    'a descriptor with the payload',
    { payload: map(), fdCount: 1, pieces: [{ bytes: 20, fdCount: 0 }], wants: 'end' },
  ],
  [
    'no-reply',
    'No_reply is done and not answered',
    {
      payload: map(),
      fdCount: 1,
      changes: { flags: 0x10 },
      wants: 'silence',
      calls: called('rw', 'file0'),
    },
  ],
  [
    'refused',
    'what the device refuses is answered with its errno',
    {
      payload: map(),
      fdCount: 1,
      wants: 'EEXIST',
      calls: called('rw', 'file0'),
      arrange: ({ endpoint }) => {
        endpoint.before = () => {
          throw new OsError('EEXIST', 'map');
        };
      },
    },
  ],
];

const unmap = (change: Partial<ReturnType<typeof u.dmaUnmap.decode>> = {}) =>
  u.dmaUnmap.encode({ argsz: 24, flags: 0, address: 0x1000n, size: 0x2000n, ...change });
const all = { flags: 2, address: 0n, size: 0n };
const half = 1n << 63n;

const unmapRows: readonly ServerRow[] = [
  [
    'echo',
    'the request is echoed',
    { payload: unmap(), wants: 'ok', reply: unmap(), calls: ['unmap 4096 8192'] },
  ],
  [
    'all',
    'flag 1 unmaps all',
    { payload: unmap(all), wants: 'ok', reply: unmap(all), calls: ['unmap all'] },
  ],
  [
    'upper-half',
    'a range may be half of all addresses',
    {
      payload: unmap({ address: half, size: half }),
      wants: 'ok',
      calls: [`unmap ${half} ${half}`],
    },
  ],
  ['argsz-most', 'an argsz of 1 MiB', { payload: unmap({ argsz: 1_048_576 }), wants: 'ok' }],
  ['argsz-over', 'an argsz over 1 MiB', { payload: unmap({ argsz: 1_048_577 }), wants: 'EINVAL' }],
  ['argsz-23', 'an argsz below the struct', { payload: unmap({ argsz: 23 }), wants: 'EINVAL' }],
  ['short', 'a payload one byte short', { payload: unmap().subarray(0, 23), wants: 'EINVAL' }],
  ['long', 'a payload one byte long', { payload: join(unmap(), fromHex('00')), wants: 'EINVAL' }],
  ['empty', 'no payload', { wants: 'EINVAL' }],
  ['no-size', 'a size of 0', { payload: unmap({ size: 0n }), wants: 'EINVAL' }],
  [
    'wraps',
    'a range that wraps',
    { payload: unmap({ address: u64Max, size: 2n }), wants: 'EINVAL' },
  ],
  [
    'all-address',
    'all, and an address',
    { payload: unmap({ ...all, address: 0x1000n }), wants: 'EINVAL' },
  ],
  ['all-size', 'all, and a size', { payload: unmap({ ...all, size: 0x1000n }), wants: 'EINVAL' }],
  [
    'all-bitmap',
    'all, and a dirty bitmap',
    { payload: join(unmap({ ...all, flags: 3 }), new Uint8Array(16)), wants: 'EINVAL' },
  ],
  ['flag-2', 'flag 2', { payload: patched(unmap(), 4, 4), wants: 'EINVAL' }],
  ['flag-31', 'flag 31', { payload: patched(unmap(), 7, 0x80), wants: 'EINVAL' }],
  ['descriptor', 'a descriptor where none is due', { payload: unmap(), fdCount: 1, wants: 'end' }],
  [
    'no-reply',
    'No_reply is done and not answered',
    { payload: unmap(), changes: { flags: 0x10 }, wants: 'silence', calls: ['unmap 4096 8192'] },
  ],
];

export const memoryRules: readonly Rule[] = [
  ...serverRules('dma-map', u.VFIO_USER_DMA_MAP, mapRows),
  ...serverRules('dma-unmap', u.VFIO_USER_DMA_UNMAP, unmapRows),
];
