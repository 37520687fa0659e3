// DEVICE_SET_IRQS: flags, ranges, data and descriptors, and what they ask of the device.
import * as u from '../../../uapi/vfio-user.js';
import { fromHex, join, patched, type Rule } from './rule.js';
import { type ServerCase, type ServerRow, serverRules } from './server-rule.js';

const none = 1;
const bool = 2;
const eventfd = 4;
const mask = 8;
const unmask = 16;
const trigger = 32;

const set = (flags: number, index: number, start: number, count: number, data = '') => {
  const tail = fromHex(data);
  const argsz = 20 + tail.length;
  return join(u.irqSet.encode({ argsz, flags, index, start, count }), tail);
};
const nothing = fromHex('');
const does = (payload: Uint8Array, call: string, fdCount = 0): Omit<ServerCase, 'command'> => ({
  payload,
  fdCount,
  wants: 'ok',
  reply: nothing,
  calls: [call],
});
const bad = (payload: Uint8Array, fdCount = 0): Omit<ServerCase, 'command'> => ({
  payload,
  fdCount,
  wants: 'EINVAL',
});
const sixteen = Array.from({ length: 16 }, (_, index) => `file${index}`).join(',');

const rows: readonly ServerRow[] = [
  [
    'bind',
    'EVENTFD TRIGGER with descriptors binds them',
    does(set(eventfd | trigger, 2, 1, 2), 'bind 2 1 file0,file1', 2),
  ],
  [
    'bind-most',
    '16 may be bound at once',
    does(set(eventfd | trigger, 2, 8, 16), `bind 2 8 ${sixteen}`, 16),
  ],
  [
    'bind-request',
    'the request interrupt is bound alike',
    does(set(eventfd | trigger, 4, 0, 1), 'bind 4 0 file0', 1),
  ],
  [
    'unbind',
    'EVENTFD TRIGGER without descriptors unbinds',
    does(set(eventfd | trigger, 2, 0, 24), 'unbind 2 0 24'),
  ],
  [
    'disable',
    'NONE TRIGGER of no count disables the index',
    does(set(none | trigger, 2, 0, 0), 'disable 2'),
  ],
  [
    'trigger',
    'NONE TRIGGER of a range fires it',
    does(set(none | trigger, 2, 22, 2), 'trigger 2 22,23'),
  ],
  [
    'trigger-some',
    'BOOL TRIGGER fires where the byte is 1',
    does(set(bool | trigger, 2, 4, 4, '01000201'), 'trigger 2 4,7'),
  ],
  ['mask', 'NONE MASK masks', does(set(none | mask, 2, 0, 1), 'mask 2 0')],
  [
    'mask-some',
    'BOOL MASK masks where the byte is 1',
    does(set(bool | mask, 2, 3, 2, '0100'), 'mask 2 3'),
  ],
  ['unmask', 'NONE UNMASK unmasks', does(set(none | unmask, 2, 23, 1), 'unmask 2 23')],
  [
    'unmask-some',
    'BOOL UNMASK unmasks where the byte is 1',
    does(set(bool | unmask, 2, 0, 2, '0001'), 'unmask 2 1'),
  ],
  [
    'argsz-large',
    'a larger argsz is fine',
    does(patched(set(none | trigger, 2, 0, 1), 1, 1), 'trigger 2 0'),
  ],
  ['short', 'a payload one byte short', bad(set(none | trigger, 2, 0, 1).subarray(0, 19))],
  ['empty', 'no payload', bad(nothing)],
  ['argsz-19', 'an argsz below the struct', bad(patched(set(none | trigger, 2, 0, 1), 0, 19))],
  ['index-5', 'an index one past the last', bad(set(none | trigger, 5, 0, 1))],
  ['index-max', 'an index of 2^32 - 1', bad(set(none | trigger, 0xffff_ffff, 0, 0))],
  ['no-data-type', 'no DATA bit', bad(set(trigger, 2, 0, 1))],
  ['two-data-types', 'two DATA bits', bad(set(none | eventfd | trigger, 2, 0, 1))],
  ['no-action', 'no ACTION bit', bad(set(none, 2, 0, 1))],
  ['two-actions', 'two ACTION bits', bad(set(none | mask | trigger, 2, 0, 1))],
  ['flag-6', 'flag 6', bad(set(none | trigger | 64, 2, 0, 1))],
  ['flag-31', 'flag 31', bad(set(2 ** 31 + (none | trigger), 2, 0, 1))],
  ['start-at-count', 'a start at the count of the index', bad(set(none | trigger, 2, 24, 1))],
  ['end-past-count', 'an end past the count of the index', bad(set(none | trigger, 2, 23, 2))],
  [
    'end-past-2-32',
    'a start and count of more than 2^32',
    bad(set(none | trigger, 2, 1, 0xffff_ffff)),
  ],
  ['no-interrupts', 'an index without interrupts', bad(set(none | trigger, 0, 0, 0))],
  ['mask-request', 'a masked request interrupt', bad(set(none | mask, 4, 0, 1))],
  ['mask-error', 'an unmasked error interrupt', bad(set(none | unmask, 3, 0, 1))],
  ['two-errors', 'two error interrupts', bad(set(none | trigger, 3, 0, 2))],
  ['start-without-count', 'no count, but a start', bad(set(none | trigger, 2, 1, 0))],
  ['mask-without-count', 'no count, and MASK', bad(set(none | mask, 2, 0, 0))],
  ['eventfd-without-count', 'no count, and EVENTFD', bad(set(eventfd | trigger, 2, 0, 0))],
  ['bool-without-count', 'no count, and BOOL', bad(set(bool | trigger, 2, 0, 0))],
  ['less-bools', 'fewer bytes than the count', bad(set(bool | trigger, 2, 0, 2, '01'))],
  ['more-bools', 'more bytes than the count', bad(set(bool | trigger, 2, 0, 2, '010101'))],
  ['bools-without-bool', 'bytes without BOOL', bad(set(none | trigger, 2, 0, 2, '0101'))],
  ['bools-with-eventfd', 'bytes with EVENTFD', bad(set(eventfd | trigger, 2, 0, 1, '01'), 1)],
  ['fd-without-eventfd', 'a descriptor without EVENTFD', bad(set(none | trigger, 2, 0, 1), 1)],
  ['fd-with-bool', 'a descriptor with BOOL', bad(set(bool | trigger, 2, 0, 1, '01'), 1)],
  ['fd-too-few', 'a descriptor too few', bad(set(eventfd | trigger, 2, 0, 2), 1)],
  ['fd-too-many', 'a descriptor too many', bad(set(eventfd | trigger, 2, 0, 2), 3)],
  [
    'fd-over-limit',
    'a descriptor more than a message may have',
    { payload: set(eventfd | trigger, 2, 0, 17), fdCount: 17, wants: 'end' },
  ],
  [
    'eventfd-mask',
    'an eventfd to mask with',
    { payload: set(eventfd | mask, 2, 0, 1), fdCount: 1, wants: 'EOPNOTSUPP' },
  ],
  [
    'eventfd-unmask',
    'an eventfd to unmask with',
    { payload: set(eventfd | unmask, 2, 0, 1), fdCount: 1, wants: 'EOPNOTSUPP' },
  ],
  [
    'no-reply',
    'No_reply is done and not answered',
    {
      payload: set(none | trigger, 2, 0, 1),
      changes: { flags: 0x10 },
      wants: 'silence',
      calls: ['trigger 2 0'],
    },
  ],
];

const screenedRows: readonly ServerRow[] = [
  [
    'screened',
    'a descriptor, and one that was screened',
    { payload: set(eventfd | trigger, 2, 0, 2), fdCount: 1, screenedCount: 1, wants: 'EBADF' },
  ],
  [
    'screened-more',
    'as many as the count, and one that was screened',
    { payload: set(eventfd | trigger, 2, 0, 1), fdCount: 1, screenedCount: 1, wants: 'EINVAL' },
  ],
  [
    'screened-none',
    'one that was screened, without EVENTFD',
    { payload: set(none | trigger, 2, 0, 1), screenedCount: 1, wants: 'EINVAL' },
  ],
  [
    'two-of-many-errors',
    'two error interrupts where the device has many',
    {
      payload: set(none | trigger, 3, 0, 2),
      wants: 'EINVAL',
      arrange: ({ endpoint }) => {
        endpoint.irqs = endpoint.irqs.map((irq) => ({ ...irq, count: 8 }));
      },
    },
  ],
];

export const irqRules: readonly Rule[] = serverRules('set-irqs', u.VFIO_USER_DEVICE_SET_IRQS, [
  ...rows,
  ...screenedRows,
]);
