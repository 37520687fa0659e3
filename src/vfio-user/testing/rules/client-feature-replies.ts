// What a client takes for an answer to the commands of the second tier.
import * as u from '../../../uapi/vfio-user.js';
import type { VfioUserClient } from '../../client.js';
import { type ClientRow, clientRules } from './client-rule.js';
import { join, type Rule } from './rule.js';

const multi = (client: VfioUserClient) =>
  client.regionWriteMulti([{ region: 0, offsetBytes: 0, data: Uint8Array.of(1) }]);
const done = (count: number) => u.regionWriteMulti.encode({ count });

const multiRows: readonly ClientRow[] = [
  ['done', 'one write done', { asks: multi, answers: [{ payload: done(1) }], wants: 'gives' }],
  [
    'more',
    'more than were asked',
    { asks: multi, answers: [{ payload: done(2) }], wants: 'closes' },
  ],
  [
    'short',
    'no count',
    { asks: multi, answers: [{ payload: new Uint8Array(7) }], wants: 'closes' },
  ],
];

const ioFds = (client: VfioUserClient) =>
  client.regionIoFds(0).then((entries) => {
    for (const { fd, shadow } of entries) {
      fd?.close();
      shadow?.fd.close();
    }
    return entries.map(({ kind, data, fd, shadow }) =>
      [kind, data, fd === undefined, shadow?.offsetBytes].join(' '),
    );
  });
const list = (argsz: number, count: number, index = 0) =>
  u.regionIoFds.encode({ argsz, flags: 0, index, count });
const entry = (fdIndex: number, type = 0, padding = 0, datamatch = 7n) =>
  u.ioFdEntry.encode({ offset: 0n, size: 4n, fdIndex, type, flags: 0, padding, datamatch });
const long = (bytes: Uint8Array) => join(bytes, Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0));

const denied = { changes: { flags: 0x21, errno: 13 } };

const ioFdRows: readonly ClientRow[] = [
  [
    'long-entries',
    'entries of 48 bytes, as of libvfio-user',
    {
      asks: ioFds,
      answers: [
        { payload: join(list(112, 2), long(entry(0, 2, 1)), long(entry(0xffff_ffff))), fdCount: 3 },
      ],
      wants: 'gives',
      value: ['shadow-ioeventfd 9 false 7', 'ioeventfd 9 true '],
    },
  ],
  [
    'fd-index',
    'a descriptor that did not come',
    {
      asks: ioFds,
      answers: [{ payload: join(list(56, 1), entry(1)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'type',
    'an unknown type',
    {
      asks: ioFds,
      answers: [{ payload: join(list(56, 1), entry(0, 3)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'index',
    'another region',
    { asks: ioFds, answers: [{ payload: list(16, 0, 1) }], wants: 'closes' },
  ],
  [
    'stride',
    'entries under 40 bytes',
    {
      asks: ioFds,
      answers: [{ payload: join(list(56, 2), entry(0)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'length',
    'argsz under its length',
    {
      asks: ioFds,
      answers: [{ payload: join(list(16, 1), entry(0)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'stride-half',
    'entries of 40 bytes and a half',
    {
      asks: ioFds,
      answers: [{ payload: join(list(97, 2), entry(0), new Uint8Array(41)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'longer',
    'a reply longer than its argsz',
    {
      asks: ioFds,
      answers: [{ payload: join(list(56, 1), entry(0), Uint8Array.of(0)), fdCount: 1 }],
      wants: 'closes',
    },
  ],
  [
    'most',
    '256 entries, asked for again with room for them',
    {
      asks: ioFds,
      answers: [
        { payload: list(16 + 256 * 40, 256) },
        { payload: join(list(16 + 256 * 40, 256), ...Array(256).fill(entry(0xffff_ffff))) },
      ],
      wants: 'gives',
      value: Array(256).fill('ioeventfd 7 true '),
    },
  ],
  [
    'count',
    '257 entries',
    { asks: ioFds, answers: [{ payload: list(16 + 257 * 40, 257) }], wants: 'closes' },
  ],
  [
    'most-bytes',
    'an argsz of 1 MiB is asked for',
    { asks: ioFds, answers: [{ payload: list(1_048_576, 1) }, denied], wants: 'EACCES' },
  ],
  [
    'descriptor-early',
    'a descriptor with a list that does not fit',
    { asks: ioFds, answers: [{ payload: list(9000, 200), fdCount: 1 }, denied], wants: 'EACCES' },
  ],
  [
    'huge',
    'an argsz over 1 MiB',
    { asks: ioFds, answers: [{ payload: list(1_048_577, 1) }], wants: 'closes' },
  ],
  [
    'grows',
    'a list that grows for ever',
    {
      asks: ioFds,
      answers: [{ payload: list(9000, 200) }, { payload: list(9001, 200) }],
      wants: 'closes',
    },
  ],
];

const feature = (flags: number, data: Uint8Array) =>
  join(u.deviceFeature.encode({ argsz: 8 + data.length, flags }), data);
const stateData = (deviceState: number) => u.featureMigState.encode({ deviceState, dataFd: 0 });
const state = (client: VfioUserClient) => client.migration.state();
const read = (client: VfioUserClient) => client.migration.read(4).then((bytes) => [...bytes]);
const data = (size: number, bytes: number) =>
  join(u.migData.encode({ argsz: 8 + bytes, size }), new Uint8Array(bytes).fill(1));
const range = { iova: 0n, lengthBytes: 4096n };
const reported = u.featureDmaReport.encode({ iova: 0n, length: 4096n, pageSize: 4096n });
const report = (client: VfioUserClient) => client.dirtyPages.report(range, 4096);
const unmap = (client: VfioUserClient) => client.dmaUnmapDirty(range, 4096);

const featureRows: readonly ClientRow[] = [
  [
    'state',
    'a state',
    {
      asks: state,
      answers: [{ payload: feature(0x10002, stateData(2)) }],
      wants: 'gives',
      value: 'running',
    },
  ],
  [
    'state-5',
    'a state that vfio-user has not',
    { asks: state, answers: [{ payload: feature(0x10002, stateData(5)) }], wants: 'closes' },
  ],
  [
    'state-short',
    'half a state',
    {
      asks: state,
      answers: [{ payload: feature(0x10002, stateData(2).subarray(4)) }],
      wants: 'closes',
    },
  ],
  [
    'flags',
    'another feature',
    { asks: state, answers: [{ payload: feature(0x10001, stateData(2)) }], wants: 'closes' },
  ],
  ['short', 'no head', { asks: state, answers: [{ payload: new Uint8Array(7) }], wants: 'closes' }],
  [
    'data-padded',
    'data padded to what was asked for, as of libvfio-user',
    { asks: read, answers: [{ payload: data(2, 4) }], wants: 'gives', value: [1, 1] },
  ],
  [
    'data-missing',
    'more data said than there',
    { asks: read, answers: [{ payload: data(3, 2) }], wants: 'closes' },
  ],
  [
    'bitmap-short',
    'a bitmap too short',
    { asks: report, answers: [{ payload: feature(0x10008, reported) }], wants: 'closes' },
  ],
  [
    'unmap-short',
    'an unmap without its bitmap',
    { asks: unmap, answers: [{ payload: new Uint8Array(40) }], wants: 'closes' },
  ],
];

export const featureReplyRules: readonly Rule[] = [
  ...clientRules('write-multi', multiRows),
  ...clientRules('io-fds', ioFdRows),
  ...clientRules('feature', featureRows),
];
