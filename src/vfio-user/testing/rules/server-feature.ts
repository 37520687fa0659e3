// DEVICE_FEATURE: its flags, and the features that log dirty pages.
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import { FullEndpoint } from '../full-endpoint.js';
import { fromHex, join, patched, type Rule } from './rule.js';
import { type ServerCase, type ServerRow, type ServerStage, serverRules } from './server-rule.js';

const get = 0x10000;
const set = 0x20000;
const probe = 0x40000;
const command = u.VFIO_USER_DEVICE_FEATURE;

export const feature = (flags: number, data: Uint8Array, argsz = 8 + data.length) =>
  join(u.deviceFeature.encode({ argsz, flags }), data);
const none = new Uint8Array(0);
const full = { isFull: true } as const;

function probes(flags: number, wants: 'ok' | 'EINVAL'): Omit<ServerCase, 'command'> {
  const payload = feature(probe | flags, none);
  return wants === 'ok' ? { ...full, payload, wants, reply: payload } : { ...full, payload, wants };
}

const flagRows: readonly ServerRow[] = [
  ['probe', 'a probe of a feature alone', probes(1, 'ok')],
  ['probe-get', 'a probe of what it can do', probes(1 | get, 'ok')],
  ['probe-set', 'a probe of what it cannot do', probes(1 | set, 'EINVAL')],
  ['probe-both', 'a probe of GET and SET where there are both', probes(2 | get | set, 'ok')],
  ['probe-half', 'a probe of GET and SET where there is one', probes(6 | get | set, 'EINVAL')],
  ['probe-start', 'a probe of DMA_LOGGING_START', probes(6 | set, 'ok')],
  ['probe-stop', 'a probe of DMA_LOGGING_STOP', probes(7 | set, 'ok')],
  ['probe-report', 'a probe of DMA_LOGGING_REPORT', probes(8 | get, 'ok')],
  ['probe-0', 'a probe of feature 0', probes(0, 'EINVAL')],
  ['probe-3', 'a probe of feature 3, which vfio-user has not', probes(3, 'EINVAL')],
  ['probe-max', 'a probe of feature 65535', probes(0xffff, 'EINVAL')],
  [
    'probe-data',
    'data with a probe are echoed',
    {
      ...full,
      payload: feature(probe | 1, fromHex('0102')),
      wants: 'ok',
      reply: feature(probe | 1, fromHex('0102')),
    },
  ],
  [
    'probe-argsz',
    'no room for the echo',
    { ...full, payload: feature(probe | 1, fromHex('0102'), 9), wants: 'EINVAL' },
  ],
  ['no-operation', 'neither GET nor SET', { ...full, payload: feature(1, none), wants: 'EINVAL' }],
  [
    'both',
    'GET and SET',
    { ...full, payload: feature(2 | get | set, new Uint8Array(8)), wants: 'EINVAL' },
  ],
  [
    'unknown-flag',
    'flag 19',
    { ...full, payload: feature(1 | get | 0x80000, none, 16), wants: 'EINVAL' },
  ],
  [
    'high-flag',
    'flag 31',
    { ...full, payload: feature((1 | get | 0x8000_0000) >>> 0, none, 16), wants: 'EINVAL' },
  ],
  [
    'unknown',
    'GET of an unknown feature',
    { ...full, payload: feature(9 | get, none, 100), wants: 'EINVAL' },
  ],
  [
    'get-of-set',
    'GET of what can only be set',
    { ...full, payload: feature(6 | get, new Uint8Array(16)), wants: 'EINVAL' },
  ],
  [
    'set-of-get',
    'SET of what can only be got',
    { ...full, payload: feature(1 | set, new Uint8Array(8)), wants: 'EINVAL' },
  ],
  ['short', 'seven bytes', { ...full, payload: new Uint8Array(7).fill(8), wants: 'EINVAL' }],
  ['argsz-7', 'argsz 7', { ...full, payload: feature(probe | 1, none, 7), wants: 'EINVAL' }],
  [
    'absent-migration',
    'a device that does not migrate',
    { payload: feature(1 | get, none, 16), wants: 'EINVAL' },
  ],
  [
    'absent-state',
    'the state of a device that does not migrate',
    { payload: feature(2 | get, none, 16), wants: 'EINVAL' },
  ],
  [
    'absent-logging',
    'a device that logs nothing',
    { payload: feature(6 | set, new Uint8Array(16)), wants: 'EINVAL' },
  ],
];

const migrationRows: readonly ServerRow[] = [
  [
    'get',
    'what the device can do',
    {
      ...full,
      payload: feature(1 | get, none, 16),
      wants: 'ok',
      reply: feature(1 | get, fromHex('0500000000000000')),
    },
  ],
  [
    'no-pre-copy',
    'a device without PRE_COPY',
    {
      ...full,
      payload: feature(1 | get, none, 16),
      wants: 'ok',
      reply: feature(1 | get, fromHex('0100000000000000')),
      arrange: ({ endpoint }) => {
        Object.assign(endpoint, { migration: { preCopy: false } });
      },
    },
  ],
  [
    'argsz-large',
    'a larger argsz is not padded to',
    {
      ...full,
      payload: feature(1 | get, none, 100),
      wants: 'ok',
      reply: feature(1 | get, fromHex('0500000000000000')),
    },
  ],
  [
    'argsz-small',
    'no room for the answer',
    { ...full, payload: feature(1 | get, none, 15), wants: 'EINVAL' },
  ],
];

const logging = (pageSize: bigint, numRanges = 0, ...ranges: readonly Uint8Array[]) =>
  join(u.featureDmaLogging.encode({ pageSize, numRanges }), ...ranges);
const range = (iova: bigint, length: bigint) => u.dmaLoggingRange.encode({ iova, length });
const start = (data: Uint8Array) => feature(6 | set, data);
const stop = (data: Uint8Array) => feature(7 | set, data);
const usual = start(logging(4096n));
const startLogging = ({ peer }: ServerStage) => peer.ask(command, usual).then(() => {});
const one = range(0x1000n, 0x2000n);
const most = limits.vfioUserLogRangesMax;
const many = (count: number) => logging(4096n, count, ...new Array<Uint8Array>(count).fill(one));

const startRows: readonly ServerRow[] = [
  [
    'all',
    'no ranges: everything',
    { ...full, payload: usual, wants: 'ok', reply: usual, calls: ['log 4096 '] },
  ],
  [
    'ranges',
    'two ranges',
    {
      ...full,
      payload: start(logging(8192n, 2, one, range(0n, 1n << 63n))),
      wants: 'ok',
      calls: [`log 8192 4096+8192,0+${1n << 63n}`],
    },
  ],
  [
    'ranges-most',
    'as many ranges as the limit',
    { ...full, payload: start(many(most)), wants: 'ok' },
  ],
  [
    'ranges-more',
    'a range more than the limit',
    { ...full, payload: start(many(most + 1)), wants: 'EINVAL' },
  ],
  [
    'chosen',
    'the page size that the device chose is told',
    {
      ...full,
      payload: start(logging(512n)),
      wants: 'ok',
      reply: usual,
      arrange: ({ endpoint }) => {
        if (endpoint instanceof FullEndpoint) endpoint.dirtyPages.pageBytes = 4096;
      },
    },
  ],
  [
    'again',
    'the same again changes nothing',
    { ...full, payload: usual, wants: 'ok', reply: usual, calls: [], arrange: startLogging },
  ],
  [
    'again-other',
    'another page size while logging',
    { ...full, payload: start(logging(8192n)), wants: 'EINVAL', arrange: startLogging },
  ],
  ['page-0', 'a page size of 0', { ...full, payload: start(logging(0n)), wants: 'EINVAL' }],
  [
    'page-4095',
    'a page size of 4095',
    { ...full, payload: start(logging(4095n)), wants: 'EINVAL' },
  ],
  [
    'short',
    'no whole data',
    { ...full, payload: start(logging(4096n).subarray(1)), wants: 'EINVAL' },
  ],
  [
    'reserved',
    'a reserved byte',
    { ...full, payload: start(patched(logging(4096n), 12, 1)), wants: 'EINVAL' },
  ],
  [
    'fewer',
    'fewer ranges than it says',
    { ...full, payload: start(logging(4096n, 2, one)), wants: 'EINVAL' },
  ],
  [
    'more',
    'more ranges than it says',
    { ...full, payload: start(logging(4096n, 0, one)), wants: 'EINVAL' },
  ],
  [
    'range-0',
    'an empty range',
    { ...full, payload: start(logging(4096n, 1, range(0n, 0n))), wants: 'EINVAL' },
  ],
  [
    'range-last',
    'a range up to 2^64',
    { ...full, payload: start(logging(4096n, 1, range((1n << 64n) - 4096n, 4096n))), wants: 'ok' },
  ],
  [
    'range-wraps',
    'a range past 2^64',
    { ...full, payload: start(logging(4096n, 1, range((1n << 64n) - 1n, 2n))), wants: 'EINVAL' },
  ],
  [
    'argsz',
    'no room for the answer',
    { ...full, payload: feature(6 | set, logging(4096n), 23), wants: 'EINVAL' },
  ],
];

const stopRows: readonly ServerRow[] = [
  [
    'data',
    'with the data of a start',
    {
      ...full,
      payload: stop(logging(4096n)),
      wants: 'ok',
      reply: stop(logging(4096n)),
      calls: ['log off'],
      arrange: startLogging,
    },
  ],
  [
    'no-data',
    'without data, as in the kernel',
    {
      ...full,
      payload: stop(none),
      wants: 'ok',
      reply: stop(none),
      calls: ['log off'],
      arrange: startLogging,
    },
  ],
  ['idle', 'while nothing is logged', { ...full, payload: stop(none), wants: 'ok', calls: [] }],
  [
    'bad-data',
    'with malformed data',
    { ...full, payload: stop(logging(0n)), wants: 'EINVAL', arrange: startLogging },
  ],
];

const reported = (iova: bigint, length: bigint, pageSize: bigint) =>
  u.featureDmaReport.encode({ iova, length, pageSize });
const report = (data: Uint8Array, argsz: number) => feature(8 | get, data, argsz);
const pages64 = reported(0x1000n, 64n * 4096n, 4096n);
const pages65 = reported(0x1000n, 65n * 4096n, 4096n);
const bits = (bytes: number) => patched(new Uint8Array(bytes), 0, 5);
const huge = reported(0n, BigInt(limits.vfioUserBitmapBytesMax) * 8n * 4096n, 4096n);
const hugeMore = reported(0n, BigInt(limits.vfioUserBitmapBytesMax) * 8n * 4096n + 1n, 4096n);
const logs = { ...full, arrange: startLogging } as const;

const reportRows: readonly ServerRow[] = [
  [
    'word',
    'a bitmap of one word',
    {
      ...logs,
      payload: report(pages64, 40),
      wants: 'ok',
      reply: feature(8 | get, join(pages64, bits(8))),
      calls: ['dirty 4096 262144 4096'],
    },
  ],
  [
    'two-words',
    'a bitmap of 65 bits takes two words',
    {
      ...logs,
      payload: report(pages65, 1000),
      wants: 'ok',
      reply: feature(8 | get, join(pages65, bits(16))),
    },
  ],
  [
    'odd-length',
    'a page that the range only touches counts',
    { ...logs, payload: report(reported(0n, 4097n, 4096n), 40), wants: 'ok' },
  ],
  ['most', 'a bitmap of the limit', { ...logs, payload: report(huge, 0xffff_ffff), wants: 'ok' }],
  [
    'more',
    'a page more than the limit',
    { ...logs, payload: report(hugeMore, 0xffff_ffff), wants: 'EINVAL' },
  ],
  [
    'agreed',
    'a bitmap over what was agreed on',
    {
      ...logs,
      payload: report(pages65, 1000),
      client: { migration: { pageBytes: 4096, bitmapBytesMax: 15 } },
      wants: 'EINVAL',
    },
  ],
  ['argsz', 'no room for the bitmap', { ...logs, payload: report(pages64, 39), wants: 'EINVAL' }],
  ['off', 'while nothing is logged', { ...full, payload: report(pages64, 40), wants: 'EINVAL' }],
  [
    'page-0',
    'a page size of 0',
    { ...logs, payload: report(reported(0n, 4096n, 0n), 40), wants: 'EINVAL' },
  ],
  [
    'page-3',
    'a page size of 3',
    { ...logs, payload: report(reported(0n, 4096n, 3n), 10_000), wants: 'EINVAL' },
  ],
  [
    'page-whole',
    'a page size of the length',
    { ...logs, payload: report(reported(0n, 4096n, 4096n), 40), wants: 'ok' },
  ],
  [
    'page-large',
    'a page size over the length',
    { ...logs, payload: report(reported(0n, 4096n, 8192n), 40), wants: 'EINVAL' },
  ],
  [
    'empty',
    'no length',
    { ...logs, payload: report(reported(0n, 0n, 4096n), 40), wants: 'EINVAL' },
  ],
  [
    'wraps',
    'a range past 2^64',
    { ...logs, payload: report(reported((1n << 64n) - 4096n, 8192n, 4096n), 40), wants: 'EINVAL' },
  ],
  [
    'short',
    'no whole data',
    { ...logs, payload: report(pages64.subarray(1), 40), wants: 'EINVAL' },
  ],
];

const unmapDirty = (argsz: number, size: bigint, pgsize = 4096n) =>
  join(
    u.dmaUnmap.encode({ argsz, flags: 1, address: 0x1000n, size: 0x40000n }),
    u.dirtyBitmapHeader.encode({ pgsize, size }),
  );

const unmapRows: readonly ServerRow[] = [
  [
    'bitmap',
    'the bitmap comes with the echo',
    {
      ...logs,
      payload: unmapDirty(48, 8n),
      wants: 'ok',
      reply: join(unmapDirty(48, 8n), bits(8)),
      calls: ['dirty 4096 262144 4096', 'unmap 4096 262144'],
    },
  ],
  [
    'larger',
    'the bytes of the bitmap are told',
    {
      ...logs,
      payload: unmapDirty(100, 16n),
      wants: 'ok',
      reply: join(unmapDirty(100, 8n), bits(8)),
    },
  ],
  ['argsz', 'no room in the reply', { ...logs, payload: unmapDirty(47, 8n), wants: 'EINVAL' }],
  ['size', 'no room for the bitmap', { ...logs, payload: unmapDirty(48, 7n), wants: 'EINVAL' }],
  ['off', 'while nothing is logged', { ...full, payload: unmapDirty(48, 8n), wants: 'EINVAL' }],
  ['page-0', 'a page size of 0', { ...logs, payload: unmapDirty(48, 8n, 0n), wants: 'EINVAL' }],
  [
    'no-header',
    'no bitmap header',
    { ...logs, payload: unmapDirty(48, 8n).subarray(0, 24), wants: 'EINVAL' },
  ],
  ['absent', 'a device that logs nothing', { payload: unmapDirty(48, 8n), wants: 'EOPNOTSUPP' }],
];

export const featureRules: readonly Rule[] = [
  ...serverRules('feature', command, flagRows),
  ...serverRules('feature-migration', command, migrationRows),
  ...serverRules('log-start', command, startRows),
  ...serverRules('log-stop', command, stopRows),
  ...serverRules('log-report', command, reportRows),
  ...serverRules('unmap-dirty', u.VFIO_USER_DMA_UNMAP, unmapRows),
];
