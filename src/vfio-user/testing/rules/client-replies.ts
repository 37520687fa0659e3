// What a client takes for an answer: to VERSION, to region access, to questions about the device.
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import type { VfioUserClient } from '../../client.js';
import { type Answer, type ClientRow, clientRules } from './client-rule.js';
import { fromHex, join, patched, type Rule } from './rule.js';
import { badVersions, goodVersions, longVersion, versionPayload } from './version-payloads.js';

const read32 = (client: VfioUserClient) => client.read32(0, 8);
const write32 = (client: VfioUserClient) => client.write32(0, 8, 1);
const echo = (offset: number, count: number, data: string, region = 0) =>
  join(u.regionAccess.encode({ offset, region, count }), fromHex(data));
const good = echo(8, 4, '01020304');

const versionRows: readonly ClientRow[] = [
  ...goodVersions.map(
    ([name, says, payload]): ClientRow => [name, says, { answers: [{ payload }], wants: 'gives' }],
  ),
  ...badVersions.map(
    ([name, says, payload]): ClientRow => [name, says, { answers: [{ payload }], wants: 'closes' }],
  ),
  [
    'minor-2',
    'a minor version that was not proposed',
    { answers: [{ payload: versionPayload('{}\0', 0, 2) }], wants: 'closes' },
  ],
  [
    'too-long',
    'JSON one byte over the limit',
    { answers: [{ payload: longVersion(limits.vfioUserVersionBytesMax + 1) }], wants: 'closes' },
  ],
  [
    'descriptor',
    'a descriptor that was not asked for',
    { answers: [{ payload: versionPayload('{}\0'), fdCount: 1 }], wants: 'closes' },
  ],
  ['error', 'an error', { answers: [{ changes: { flags: 0x21, errno: 13 } }], wants: 'EACCES' }],
  [
    'other-command',
    'a reply to another command',
    { answers: [{ command: 4, payload: versionPayload('{}\0') }], wants: 'closes' },
  ],
];

const reply = (given: Answer, wants: 'closes' | 'gives' = 'closes') =>
  ({ asks: read32, answers: [{ payload: good, ...given }], wants }) as const;

const replyRows: readonly ClientRow[] = [
  [
    'read',
    'data of a read',
    { asks: read32, answers: [{ payload: good }], wants: 'gives', value: 0x04030201 },
  ],
  ['short', 'a byte less than was asked for', reply({ payload: echo(8, 4, '010203') })],
  ['long', 'a byte more than was asked for', reply({ payload: echo(8, 4, '0102030405') })],
  ['empty', 'no payload', reply({ payload: fromHex('') })],
  ['other-offset', 'another offset', reply({ payload: echo(9, 4, '01020304') })],
  ['other-count', 'another count', reply({ payload: echo(8, 3, '01020304') })],
  ['other-region', 'another region', reply({ payload: echo(8, 4, '01020304', 1) })],
  ['other-id', 'an id that nobody asks with', reply({ changes: { messageId: 0x7777 } })],
  ['other-command', 'another command', reply({ command: 10 })],
  ['no-reply-flag', 'the No_reply flag in a reply', reply({ changes: { flags: 0x11 } })],
  ['unknown-flag', 'flag 6 in a reply', reply({ changes: { flags: 0x41 } })],
  ['high-flag', 'flag 31 in a reply', reply({ changes: { flags: 0x8000_0001 } })],
  ['type-2', 'message type 2', reply({ changes: { flags: 2 } })],
  ['size-15', 'a size below the header', reply({ changes: { messageSize: 15 } })],
  [
    'size-over-asked',
    'a size over what was asked for',
    reply({ changes: { messageSize: 16 + 21 } }),
  ],
  [
    'size-over',
    'a size over the largest message',
    reply({ changes: { messageSize: limits.vfioUserMessageBytesMax + 1 } }),
  ],
  ['descriptor', 'a descriptor where none is due', reply({ fdCount: 1 })],
  [
    'errno-without-error',
    'an errno without Error is ignored',
    reply({ changes: { errno: 5 } }, 'gives'),
  ],
  [
    'write-echo',
    'the echo of a write',
    { asks: write32, answers: [{ payload: echo(8, 4, '') }], wants: 'gives' },
  ],
  [
    'write-other-count',
    'another count for a write',
    { asks: write32, answers: [{ payload: echo(8, 5, '') }], wants: 'closes' },
  ],
  [
    'write-data',
    'data in the reply to a write',
    { asks: write32, answers: [{ payload: echo(8, 4, '00') }], wants: 'closes' },
  ],
  [
    'write-empty',
    'no payload in the reply to a write',
    { asks: write32, answers: [{}], wants: 'closes' },
  ],
  [
    'error',
    'an error',
    { asks: read32, answers: [{ changes: { flags: 0x21, errno: 13 } }], wants: 'EACCES' },
  ],
  [
    'error-0',
    'an error without errno',
    { asks: read32, answers: [{ changes: { flags: 0x21, errno: 0 } }], wants: 'EIO' },
  ],
  [
    'error-unknown',
    'an error with an unknown errno',
    { asks: read32, answers: [{ changes: { flags: 0x21, errno: 9999 } }], wants: 'EIO' },
  ],
  [
    'error-payload',
    'an error with a payload and a descriptor',
    {
      asks: (client) => client.regionInfo(0),
      answers: [{ payload: new Uint8Array(12), fdCount: 1, changes: { flags: 0x21, errno: 13 } }],
      wants: 'EACCES',
    },
  ],
  [
    'reset-payload',
    'a payload in the reply to a reset',
    { asks: (client) => client.reset(), answers: [{ payload: fromHex('00') }], wants: 'closes' },
  ],
];

const device = (numRegions: number, numIrqs: number): Answer => ({
  payload: u.deviceInfo.encode({ argsz: 16, flags: 3, numRegions, numIrqs }),
});
const askDevice = (client: VfioUserClient) => client.deviceInfo();

const deviceRows: readonly ClientRow[] = [
  [
    'most',
    '100 regions and 50 interrupt indexes',
    {
      asks: askDevice,
      answers: [device(100, 50)],
      wants: 'gives',
      value: { regionCount: 100, irqCount: 50, flags: 3, resettable: true },
    },
  ],
  ['regions-101', '101 regions', { asks: askDevice, answers: [device(101, 5)], wants: 'closes' }],
  [
    'irqs-51',
    '51 interrupt indexes',
    { asks: askDevice, answers: [device(9, 51)], wants: 'closes' },
  ],
  [
    'short',
    'a payload one byte short',
    { asks: askDevice, answers: [{ payload: new Uint8Array(15) }], wants: 'closes' },
  ],
  [
    'long',
    'a payload one byte long',
    { asks: askDevice, answers: [{ payload: new Uint8Array(17) }], wants: 'closes' },
  ],
  [
    'irq-short',
    'interrupt information one byte short',
    {
      asks: (client) => client.irqInfo(2),
      answers: [{ payload: new Uint8Array(15) }],
      wants: 'closes',
    },
  ],
  [
    'irq',
    'interrupt information',
    {
      asks: (client) => client.irqInfo(2),
      answers: [{ payload: u.irqInfo.encode({ argsz: 16, flags: 9, index: 2, count: 24 }) }],
      wants: 'gives',
      value: { flags: 9, count: 24 },
    },
  ],
];

const usual = { argsz: 32, flags: 7, index: 0, capOffset: 0, size: 0x4000, offset: 0 };
const fixed = (change: object = {}) => u.regionInfo.encode({ ...usual, ...change });
const withCap = (cap: string, change: object = {}) => {
  const bytes = fromHex(cap);
  const argsz = 32 + bytes.length;
  return join(fixed({ argsz, flags: 15, capOffset: 32, ...change }), bytes);
};
const area = '0010000000000000 0010000000000000';
const sparse = `0100010000000000 0100000000000000 ${area}`;
/** What of the answer the caller sees, the descriptor closed. */
const askRegion = (client: VfioUserClient) =>
  client.regionInfo(0).then(({ fd, areas }) => {
    fd?.close();
    return [fd !== undefined, ...areas.map((each) => [each.offsetBytes, each.lengthBytes])];
  });
const region = (payload: Uint8Array, value: unknown, fdCount = 1) =>
  ({ asks: askRegion, answers: [{ payload, fdCount }], wants: 'gives', value }) as const;
const badRegion = (payload: Uint8Array) =>
  ({ asks: askRegion, answers: [{ payload, fdCount: 1 }], wants: 'closes' }) as const;
const loops = Array.from({ length: 33 }, (_, index) => {
  const next = index === 32 ? 0 : 32 + 8 * (index + 1);
  return `03000100${Buffer.from(Uint32Array.of(next).buffer).toString('hex')}`;
});

const regionRows: readonly ClientRow[] = [
  [
    'whole',
    'without a capability all of the region is mappable',
    region(fixed(), [true, [0, 0x4000]]),
  ],
  [
    'areas',
    'areas are found behind other capabilities',
    region(withCap(`0300010028000000 ${sparse}`), [true, [0x1000, 0x1000]]),
  ],
  [
    'area-at-end',
    'an area may end with the region',
    region(withCap('0100010000000000 0100000000000000 0030000000000000 0010000000000000'), [
      true,
      [0x3000, 0x1000],
    ]),
  ],
  [
    'empty-area',
    'an area of no bytes is left out',
    region(withCap('0100010000000000 0100000000000000 0030000000000000 0000000000000000'), [true]),
  ],
  [
    'offset-most',
    'an offset just below 2^53',
    region(fixed({ flags: 3, offset: 2 ** 53 - 1 }), [false], 0),
  ],
  ['no-descriptor', 'without a descriptor nothing is mappable', region(fixed(), [false], 0)],
  ['no-mmap', 'without the MMAP flag nothing is mappable', region(fixed({ flags: 3 }), [false])],
  [
    'no-caps-flag',
    'without the CAPS flag there is no chain',
    region(withCap(sparse, { flags: 7 }), [true, [0, 0x4000]]),
  ],
  [
    'retry',
    'a larger argsz is asked for again',
    {
      asks: askRegion,
      answers: [{ payload: fixed({ argsz: 2000 }) }, { payload: fixed() }],
      wants: 'gives',
      value: [false],
    },
  ],
  [
    'retry-most',
    'an argsz of the limit is asked for again',
    {
      asks: askRegion,
      answers: [
        { payload: fixed({ argsz: limits.vfioUserRegionInfoBytesMax }) },
        { payload: fixed() },
      ],
      wants: 'gives',
      value: [false],
    },
  ],
  [
    'argsz-over',
    'an argsz over the limit',
    badRegion(fixed({ argsz: limits.vfioUserRegionInfoBytesMax + 1 })),
  ],
  [
    'grows',
    'an argsz that grows again',
    {
      asks: askRegion,
      answers: [
        { payload: fixed({ argsz: 2000 }), fdCount: 1 },
        { payload: fixed({ argsz: 3000 }), fdCount: 1 },
      ],
      wants: 'closes',
    },
  ],
  ['other-index', 'another index', badRegion(fixed({ index: 1 }))],
  ['short', 'a payload one byte short', badRegion(fixed().subarray(0, 31))],
  ['argsz-31', 'an argsz under the length', badRegion(fixed({ argsz: 31 }))],
  [
    'argsz-1000',
    'an argsz over the length that was not too much',
    badRegion(fixed({ argsz: 1000 })),
  ],
  ['size-2-53', 'a region of 2^53 bytes', badRegion(patched(fixed(), 22, 0x20))],
  ['chain-loops', 'a chain that loops', badRegion(withCap('0300010020000000'))],
  ['chain-long', 'a chain of 33 capabilities', badRegion(withCap(loops.join('')))],
  ['chain-outside', 'a chain that leads outside', badRegion(withCap('0300010000100000'))],
  ['chain-half', 'half a capability header', badRegion(withCap('03000100'))],
  [
    'areas-missing',
    'more areas than fit',
    badRegion(withCap(`0100010000000000 0200000000000000 ${area}`)),
  ],
  ['areas-max', '2^32 - 1 areas', badRegion(withCap('0100010000000000 ffffffff00000000'))],
  [
    'area-outside',
    'an area that ends one byte outside',
    badRegion(withCap('0100010000000000 0100000000000000 0030000000000000 0110000000000000')),
  ],
  [
    'area-far',
    'an area that begins outside',
    badRegion(withCap('0100010000000000 0100000000000000 0040000000000000 0100000000000000')),
  ],
  [
    'areas-reserved',
    'a reserved word that is set',
    badRegion(withCap(`0100010000000000 0100000001000000 ${area}`)),
  ],
  [
    'two-descriptors',
    'two descriptors',
    { asks: askRegion, answers: [{ payload: fixed(), fdCount: 2 }], wants: 'closes' },
  ],
];

export const replyRules: readonly Rule[] = [
  ...clientRules('version', versionRows),
  ...clientRules('reply', replyRows),
  ...clientRules('device-info', deviceRows),
  ...clientRules('region-info', regionRows),
];
