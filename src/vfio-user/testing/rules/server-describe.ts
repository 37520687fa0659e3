// What the server says of its device: DEVICE_GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, RESET.
import * as u from '../../../uapi/vfio-user.js';
import { fromHex, join, type Rule } from './rule.js';
import { type ServerRow, serverRules } from './server-rule.js';

const info = (argsz: number, flags = 0) =>
  u.deviceInfo.encode({ argsz, flags, numRegions: 0, numIrqs: 0 });
const told = (flags: number) =>
  u.deviceInfo.encode({ argsz: 16, flags, numRegions: 9, numIrqs: 5 });

const deviceRows: readonly ServerRow[] = [
  [
    'counts',
    'regions and interrupt indexes are counted',
    { payload: info(16), wants: 'ok', reply: told(3) },
  ],
  [
    'argsz-large',
    'a larger argsz is fine and not padded to',
    { payload: info(64), wants: 'ok', reply: told(3) },
  ],
  [
    'argsz-max',
    'an argsz of 2^32 - 1 is fine',
    { payload: info(0xffff_ffff), wants: 'ok', reply: told(3) },
  ],
  [
    'flags-ignored',
    'flags of the request mean nothing',
    { payload: info(16, 0xff), wants: 'ok', reply: told(3) },
  ],
  [
    'no-reset',
    'a device without reset does not claim one',
    {
      payload: info(16),
      wants: 'ok',
      reply: told(2),
      arrange: ({ endpoint }) =>
        Object.defineProperty(endpoint, 'reset', { value: undefined }) && undefined,
    },
  ],
  ['argsz-15', 'an argsz below the struct', { payload: info(15), wants: 'EINVAL' }],
  ['argsz-0', 'an argsz of 0', { payload: info(0), wants: 'EINVAL' }],
  ['short', 'a payload one byte short', { payload: info(16).subarray(0, 15), wants: 'EINVAL' }],
  ['long', 'a payload one byte long', { payload: join(info(16), fromHex('00')), wants: 'EINVAL' }],
  ['empty', 'no payload', { wants: 'EINVAL' }],
  ['descriptor', 'a descriptor where none is due', { payload: info(16), fdCount: 1, wants: 'end' }],
  [
    'no-reply',
    'No_reply is obeyed',
    { payload: info(16), changes: { flags: 0x10 }, wants: 'silence' },
  ],
];

const region = (index: number, argsz: number) =>
  u.regionInfo.encode({ argsz, flags: 0, index, capOffset: 0, size: 0, offset: 0 });
const described = (index: number, flags: number, size: number) =>
  u.regionInfo.encode({ argsz: 32, flags, index, capOffset: 0, size, offset: 0 });
const bar0 = { index: 0, size: 0x8000, offset: 0x10000 };
const bar0Full = join(
  u.regionInfo.encode({ argsz: 80, flags: 0xf, capOffset: 32, ...bar0 }),
  fromHex('0100 0100 00000000 02000000 00000000'),
  fromHex('0000000000000000 0010000000000000 0040000000000000 0020000000000000'),
);
const bar0Cut = u.regionInfo.encode({ argsz: 80, flags: 7, capOffset: 0, ...bar0 });
const bar0Plain = u.regionInfo.encode({ argsz: 32, flags: 3, capOffset: 0, ...bar0 });
const withFile = { reply: bar0Full, replyFiles: ['region0'] };

const regionRows: readonly ServerRow[] = [
  [
    'areas',
    'mappable areas come with one descriptor',
    { payload: region(0, 4096), wants: 'ok', ...withFile },
  ],
  [
    'argsz-exact',
    'an argsz of just the reply',
    { payload: region(0, 80), wants: 'ok', ...withFile },
  ],
  [
    'argsz-79',
    'an argsz one byte short of the areas cuts them off, with the descriptor',
    { payload: region(0, 79), wants: 'ok', reply: bar0Cut },
  ],
  [
    'argsz-32',
    'an argsz of the fixed part gets that and the need',
    { payload: region(0, 32), wants: 'ok', reply: bar0Cut },
  ],
  ['argsz-31', 'an argsz below the struct', { payload: region(0, 31), wants: 'EINVAL' }],
  [
    'read-only',
    'a read-only region has no areas',
    { payload: region(1, 4096), wants: 'ok', reply: described(1, 1, 0x1000) },
  ],
  [
    'by-message',
    'a region by message has no areas',
    { payload: region(2, 4096), wants: 'ok', reply: described(2, 3, 0x40_0000) },
  ],
  [
    'config',
    'the configuration space is region 7',
    { payload: region(7, 4096), wants: 'ok', reply: described(7, 3, 256) },
  ],
  [
    'unused-bar',
    'an unused BAR has no size and no flags',
    { payload: region(3, 4096), wants: 'ok', reply: described(3, 0, 0) },
  ],
  [
    'unused-rom',
    'an unused ROM has no size and no flags',
    { payload: region(6, 4096), wants: 'ok', reply: described(6, 0, 0) },
  ],
  [
    'unused-vga',
    'an unused VGA region has no size and no flags',
    { payload: region(8, 32), wants: 'ok', reply: described(8, 0, 0) },
  ],
  [
    'no-descriptor',
    'a region without descriptor on offer is not mappable',
    {
      payload: region(0, 4096),
      wants: 'ok',
      reply: bar0Plain,
      arrange: ({ endpoint }) => {
        endpoint.regionFd = () => undefined;
      },
    },
  ],
  [
    'client-without-fds',
    'a client that takes no descriptors gets none',
    { payload: region(0, 4096), client: { maxMsgFds: 0 }, wants: 'ok', reply: bar0Plain },
  ],
  ['index-9', 'an index one past the last', { payload: region(9, 32), wants: 'EINVAL' }],
  ['index-max', 'an index of 2^32 - 1', { payload: region(0xffff_ffff, 32), wants: 'EINVAL' }],
  [
    'short',
    'a payload one byte short',
    { payload: region(0, 32).subarray(0, 31), wants: 'EINVAL' },
  ],
  [
    'long',
    'a payload one byte long',
    { payload: join(region(0, 32), fromHex('00')), wants: 'EINVAL' },
  ],
  [
    'descriptor',
    'a descriptor where none is due',
    { payload: region(0, 32), fdCount: 1, wants: 'end' },
  ],
  [
    'no-reply',
    'No_reply is obeyed, and the descriptor of the reply closed',
    { payload: region(0, 4096), changes: { flags: 0x10 }, wants: 'silence' },
  ],
];

const irq = (index: number, argsz = 16) => u.irqInfo.encode({ argsz, flags: 0, index, count: 0 });
const irqTold = (index: number, flags: number, count: number) =>
  u.irqInfo.encode({ argsz: 16, flags, index, count });

const irqRows: readonly ServerRow[] = [
  [
    'absent',
    'an index without interrupts has none',
    { payload: irq(0), wants: 'ok', reply: irqTold(0, 0, 0) },
  ],
  [
    'msix',
    'vectors and flags are told',
    { payload: irq(2), wants: 'ok', reply: irqTold(2, 9, 24) },
  ],
  [
    'request',
    'the last index is the request interrupt',
    { payload: irq(4), wants: 'ok', reply: irqTold(4, 1, 1) },
  ],
  [
    'argsz-large',
    'a larger argsz is fine',
    { payload: irq(4, 4096), wants: 'ok', reply: irqTold(4, 1, 1) },
  ],
  ['argsz-15', 'an argsz below the struct', { payload: irq(0, 15), wants: 'EINVAL' }],
  ['index-5', 'an index one past the last', { payload: irq(5), wants: 'EINVAL' }],
  ['index-max', 'an index of 2^32 - 1', { payload: irq(0xffff_ffff), wants: 'EINVAL' }],
  ['short', 'a payload one byte short', { payload: irq(0).subarray(1), wants: 'EINVAL' }],
  ['long', 'a payload one byte long', { payload: join(irq(0), fromHex('00')), wants: 'EINVAL' }],
  ['descriptor', 'a descriptor where none is due', { payload: irq(0), fdCount: 1, wants: 'end' }],
];

const resetRows: readonly ServerRow[] = [
  [
    'done',
    'the device is reset, and the answer is a header alone',
    { wants: 'ok', reply: fromHex(''), calls: ['reset'] },
  ],
  ['payload', 'a payload where none is due', { payload: fromHex('00'), wants: 'EINVAL' }],
  ['descriptor', 'a descriptor where none is due', { fdCount: 1, wants: 'end' }],
  [
    'no-reply',
    'No_reply is obeyed',
    { changes: { flags: 0x10 }, wants: 'silence', calls: ['reset'] },
  ],
  [
    'unsupported',
    'a device without reset',
    {
      wants: 'EOPNOTSUPP',
      arrange: ({ endpoint }) =>
        Object.defineProperty(endpoint, 'reset', { value: undefined }) && undefined,
    },
  ],
];

export const describeRules: readonly Rule[] = [
  ...serverRules('device-info', u.VFIO_USER_DEVICE_GET_INFO, deviceRows),
  ...serverRules('region-info', u.VFIO_USER_DEVICE_GET_REGION_INFO, regionRows),
  ...serverRules('irq-info', u.VFIO_USER_DEVICE_GET_IRQ_INFO, irqRows),
  ...serverRules('reset', u.VFIO_USER_DEVICE_RESET, resetRows),
];
