// The connection as the server sees it: headers, unknown commands, VERSION, what ends it.
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import { encodeVersion, ownCapabilities } from '../../version.js';
import { fromHex, type Rule } from './rule.js';
import { type ServerRow, serverRules } from './server-rule.js';
import {
  badVersions,
  goodVersions,
  longVersion,
  saying,
  versionPayload,
} from './version-payloads.js';

const info = u.deviceInfo.encode({ argsz: 16, flags: 0, numRegions: 0, numIrqs: 0 });
const infoReply = u.deviceInfo.encode({ argsz: 16, flags: 3, numRegions: 9, numIrqs: 5 });
const version = encodeVersion(1, ownCapabilities);
/** The test endpoint does not migrate. */
const granted = { ...ownCapabilities, migration: undefined };
const answer = encodeVersion(1, granted);
const messageMax = limits.vfioUserMessageBytesMax;
/** A command no one has, with a payload that fills the largest message. */
const largest = new Uint8Array(messageMax - 16);

const headerRows: readonly ServerRow[] = [
  [
    'echo',
    'id and command are echoed',
    { payload: info, changes: { messageId: 0xfffe }, wants: 'ok', reply: infoReply },
  ],
  [
    'repeated-id',
    'an id may repeat',
    {
      payload: info,
      changes: { messageId: 0 },
      wants: 'ok',
      reply: infoReply,
      arrange: ({ peer }) => peer.ask(4, info, { messageId: 0 }).then(() => {}),
    },
  ],
  ['unknown-flag', 'flag 6', { payload: info, changes: { flags: 0x40 }, wants: 'EINVAL' }],
  ['high-flag', 'flag 31', { payload: info, changes: { flags: 0x8000_0000 }, wants: 'EINVAL' }],
  [
    'error-flag',
    'the Error flag in a command',
    { payload: info, changes: { flags: 0x20 }, wants: 'EINVAL' },
  ],
  ['errno', 'an errno in a command', { payload: info, changes: { errno: 5 }, wants: 'EINVAL' }],
  [
    'unknown-flag-posted',
    'flag 6 with No_reply',
    { payload: info, changes: { flags: 0x50 }, wants: 'silence' },
  ],
  ['type-2', 'message type 2', { payload: info, changes: { flags: 2 }, wants: 'end' }],
  ['type-15', 'message type 15', { payload: info, changes: { flags: 15 }, wants: 'end' }],
  [
    'reply',
    'a reply that nobody asked for',
    { payload: info, changes: { flags: 1 }, wants: 'end' },
  ],
  [
    'error-reply',
    'an error reply that nobody asked for',
    { payload: info, changes: { flags: 0x21 }, wants: 'end' },
  ],
  [
    'size-15',
    'a size one below the header',
    { payload: info, changes: { messageSize: 15 }, wants: 'end' },
  ],
  ['size-0', 'a size of 0', { payload: info, changes: { messageSize: 0 }, wants: 'end' }],
  ['size-largest', 'the largest message', { payload: largest, command: 99, wants: 'ENOSYS' }],
  [
    'size-over',
    'a size one over the largest message',
    { payload: info, changes: { messageSize: messageMax + 1 }, wants: 'end' },
  ],
  [
    'size-max',
    'a size of 2^32 - 1',
    { payload: info, changes: { messageSize: 0xffff_ffff }, wants: 'end' },
  ],
];

const commandRows: readonly ServerRow[] = [
  ['0', 'command 0', { command: 0, wants: 'ENOSYS' }],
  [
    'dma-read',
    'DMA_READ to a server',
    { command: u.VFIO_USER_DMA_READ, payload: new Uint8Array(16), wants: 'ENOSYS' },
  ],
  [
    'dma-write',
    'DMA_WRITE to a server',
    { command: u.VFIO_USER_DMA_WRITE, payload: new Uint8Array(24), wants: 'ENOSYS' },
  ],
  [
    'dirty-pages',
    'the removed DIRTY_PAGES',
    { command: 14, payload: new Uint8Array(24), wants: 'ENOSYS' },
  ],
  [
    '19',
    'a command one past the last',
    { command: 19, payload: new Uint8Array(24), wants: 'ENOSYS' },
  ],
  ['max', 'command 65535', { command: 0xffff, wants: 'ENOSYS' }],
  [
    'descriptors',
    'descriptors with an unknown command are closed',
    { command: 99, payload: fromHex('00000000'), fdCount: 2, wants: 'ENOSYS' },
  ],
  [
    'most-descriptors',
    'as many descriptors as a message may have',
    { command: 99, fdCount: 16, wants: 'ENOSYS' },
  ],
  [
    'more-descriptors',
    'a descriptor more than a message may have',
    { command: 99, fdCount: 17, wants: 'end' },
  ],
  ['no-reply', 'No_reply is obeyed', { command: 99, changes: { flags: 0x10 }, wants: 'silence' }],
  [
    'dma-read-descriptor',
    'a descriptor with DMA_READ',
    { command: u.VFIO_USER_DMA_READ, payload: new Uint8Array(16), fdCount: 1, wants: 'end' },
  ],
  [
    'dirty-pages-descriptor',
    'a descriptor with command 14',
    { command: 14, fdCount: 1, wants: 'end' },
  ],
];

const first = { isFirst: true } as const;
const refused = { isFirst: true, wants: 'EINVAL, end' } as const;
const firstOther = (command: number): ServerRow[2] => ({
  command,
  payload: info,
  isFirst: true,
  wants: 'end',
});

const versionRows: readonly ServerRow[] = [
  ...goodVersions.map(
    ([name, says, payload]): ServerRow => [name, says, { payload, ...first, wants: 'ok' }],
  ),
  [
    'answer',
    'the answer says what we take',
    { payload: version, ...first, wants: 'ok', reply: answer },
  ],
  [
    'minor-lower',
    'a lower minor version is answered with itself',
    {
      payload: encodeVersion(0, ownCapabilities),
      ...first,
      wants: 'ok',
      reply: encodeVersion(0, granted),
    },
  ],
  [
    'minor-higher',
    'a higher minor version is answered with ours',
    { payload: encodeVersion(0xffff, ownCapabilities), ...first, wants: 'ok', reply: answer },
  ],
  [
    'fewer-maps',
    'no more maps are answered than were proposed',
    {
      payload: encodeVersion(1, { ...ownCapabilities, maxDmaMaps: 10 }),
      ...first,
      wants: 'ok',
      reply: encodeVersion(1, { ...granted, maxDmaMaps: 10 }),
    },
  ],
  ...badVersions.map(([name, says, payload]): ServerRow => [name, says, { payload, ...refused }]),
  [
    'too-long',
    'JSON one byte over the limit',
    { payload: longVersion(limits.vfioUserVersionBytesMax + 1), ...refused },
  ],
  [
    'no-page-size',
    'no page size in common',
    { payload: saying('{"pgsizes":2097152}'), ...refused },
  ],
  ['unknown-flag', 'flag 7', { payload: version, changes: { flags: 0x80 }, ...refused }],
  ['errno', 'an errno in a command', { payload: version, changes: { errno: 1 }, ...refused }],
  ['descriptor', 'a descriptor', { payload: version, fdCount: 1, ...refused }],
  [
    'no-reply',
    'a VERSION that wants no answer',
    { payload: version, changes: { flags: 0x10 }, ...first, wants: 'end' },
  ],
  ['again', 'a second VERSION', { payload: version, wants: 'EINVAL' }],
  [
    'again-major',
    'a second VERSION with another major version',
    { payload: versionPayload('', 1), wants: 'EINVAL' },
  ],
  [
    'again-descriptor',
    'a second VERSION with a descriptor',
    { payload: version, fdCount: 1, wants: 'end' },
  ],
  ['first-dma-map', 'a first message that is DMA_MAP', firstOther(u.VFIO_USER_DMA_MAP)],
  [
    'first-device-info',
    'a first message that is DEVICE_GET_INFO',
    firstOther(u.VFIO_USER_DEVICE_GET_INFO),
  ],
  ['first-reset', 'a first message that is DEVICE_RESET', firstOther(u.VFIO_USER_DEVICE_RESET)],
  ['first-unknown', 'a first message of an unknown command', firstOther(99)],
  [
    'first-descriptor',
    'a first message that is DMA_MAP with a descriptor',
    { ...firstOther(2), fdCount: 1 },
  ],
];

export const connectionRules: readonly Rule[] = [
  ...serverRules('header', u.VFIO_USER_DEVICE_GET_INFO, headerRows),
  ...serverRules('command', 0, commandRows),
  ...serverRules('version', u.VFIO_USER_VERSION, versionRows),
];
