// The migration states as a client sets them, what is allowed in them, and the state as data.
import { limits } from '../../../base/limits.js';
import * as u from '../../../uapi/vfio-user.js';
import type { MigrationState } from '../../endpoint.js';
import { stateNumbers } from '../../migration/states.js';
import { deviceState } from '../full-endpoint.js';
import { fromHex, join, type Rule } from './rule.js';
import { feature } from './server-feature.js';
import { type ServerRow, type ServerStage, serverRules } from './server-rule.js';

const command = u.VFIO_USER_DEVICE_FEATURE;
const get = 0x10002;
const set = 0x20002;
const full = { isFull: true } as const;

const state = (number: number) =>
  u.featureMigState.encode({ deviceState: number, dataFd: 0xffff_ffff });
const setTo = (to: MigrationState) => feature(set, state(stateNumbers[to]));
const getState = feature(get, new Uint8Array(0), 16);
const told = (at: MigrationState) => feature(get, state(stateNumbers[at]));

/** Brings the device there first. */
const at = (to: MigrationState) => ({
  ...full,
  arrange: async ({ peer }: ServerStage) => {
    if ((await peer.ask(command, setTo(to))) !== 'ok') throw new TypeError(`not in ${to}`);
  },
});

/** A device that failed on its way. */
const failed = {
  ...full,
  arrange: async ({ peer, endpoint }: ServerStage) => {
    endpoint.before = () => {
      throw Object.assign(new Error('no'), { name: 'OsError', errno: 'ENXIO' });
    };
    const answer = await peer.ask(command, setTo('stop'));
    if (answer !== 'ENXIO') throw new TypeError(`answered ${answer}`);
    endpoint.before = () => {};
  },
};

function moves(from: MigrationState, to: MigrationState, ...arcs: readonly string[]): ServerRow {
  const payload = setTo(to);
  return [
    `${from}-to-${to}`,
    `${from} to ${to}, arc by arc`,
    { ...at(from), payload, wants: 'ok', reply: payload, calls: arcs.map((arc) => `arc ${arc}`) },
  ];
}

function refused(from: MigrationState, number: number, name: string): ServerRow {
  return [
    `${from}-to-${name}`,
    `no way leads from ${from} to ${name}`,
    { ...at(from), payload: feature(set, state(number)), wants: 'EINVAL' },
  ];
}

const stateRows: readonly ServerRow[] = [
  [
    'get',
    'a device begins running',
    { ...full, payload: getState, wants: 'ok', reply: told('running') },
  ],
  [
    'get-stop-copy',
    'the state is told',
    { ...at('stop-copy'), payload: getState, wants: 'ok', reply: told('stop-copy') },
  ],
  [
    'get-argsz',
    'no room for the answer',
    { ...full, payload: feature(get, new Uint8Array(0), 15), wants: 'EINVAL' },
  ],
  [
    'get-data',
    'data with GET mean nothing',
    { ...full, payload: feature(get, state(4)), wants: 'ok', reply: told('running') },
  ],
  [
    'set-short',
    'no whole data',
    { ...full, payload: feature(set, state(1).subarray(1)), wants: 'EINVAL' },
  ],
  [
    'set-long',
    'more than the data',
    { ...full, payload: feature(set, join(state(1), state(1))), wants: 'EINVAL' },
  ],
  [
    'set-argsz',
    'no room for the echo',
    { ...full, payload: feature(set, state(1), 15), wants: 'EINVAL' },
  ],
  moves('running', 'running'),
  moves('running', 'stop', 'running stop'),
  moves('running', 'stop-copy', 'running stop', 'stop stop-copy'),
  moves('running', 'resuming', 'running stop', 'stop resuming'),
  moves('running', 'pre-copy', 'running pre-copy'),
  moves('stop', 'running', 'stop running'),
  moves('stop', 'pre-copy', 'stop running', 'running pre-copy'),
  moves('stop-copy', 'running', 'stop-copy stop', 'stop running'),
  moves('stop-copy', 'resuming', 'stop-copy stop', 'stop resuming'),
  moves('resuming', 'running', 'resuming stop', 'stop running'),
  moves('resuming', 'stop-copy', 'resuming stop', 'stop stop-copy'),
  moves('pre-copy', 'stop-copy', 'pre-copy stop-copy'),
  moves('pre-copy', 'stop', 'pre-copy running', 'running stop'),
  refused('stop-copy', 6, 'pre-copy'),
  refused('running', 0, 'error'),
  refused('running', 5, 'running-p2p'),
  refused('running', 7, 'pre-copy-p2p'),
  refused('running', 8, '8'),
  [
    'failed',
    'an arc that failed leaves the device in error',
    { ...failed, payload: getState, wants: 'ok', reply: told('error') },
  ],
  [
    'failed-set',
    'no way leads out of error',
    { ...failed, payload: setTo('running'), wants: 'EINVAL' },
  ],
  [
    'failed-reset',
    'a reset does',
    { ...failed, command: 13, payload: new Uint8Array(0), wants: 'ok', calls: ['reset'] },
  ],
];

const access = u.regionAccess.encode({ offset: 0, region: 0, count: 4 });
const write = join(access, fromHex('01020304'));
const multi = join(
  u.regionWriteMulti.encode({ count: 1 }),
  u.regionWriteMultiEntry.encode({ offset: 0, region: 0, count: 4, data: new Uint8Array(8) }),
);
const map = u.dmaMap.encode({ argsz: 32, flags: 3, offset: 0n, address: 0n, size: 0x1000n });
const mask = u.irqSet.encode({ argsz: 20, flags: 9, index: 2, start: 0, count: 1 });

const allowedRows: readonly ServerRow[] = [
  [
    'read-stop',
    'registers are read in stop',
    { ...at('stop'), command: 9, payload: access, wants: 'ok' },
  ],
  [
    'write-stop',
    'registers are written in stop',
    { ...at('stop'), command: 10, payload: write, wants: 'ok' },
  ],
  [
    'write-resuming',
    'registers are written in resuming',
    { ...at('resuming'), command: 10, payload: write, wants: 'ok' },
  ],
  [
    'write-pre-copy',
    'registers are written in pre-copy',
    { ...at('pre-copy'), command: 10, payload: write, wants: 'ok' },
  ],
  [
    'read-stop-copy',
    'no register is read in stop-copy',
    { ...at('stop-copy'), command: 9, payload: access, wants: 'EINVAL' },
  ],
  [
    'write-stop-copy',
    'no register is written in stop-copy',
    { ...at('stop-copy'), command: 10, payload: write, wants: 'EINVAL' },
  ],
  [
    'multi-stop-copy',
    'nor several',
    { ...at('stop-copy'), command: 15, payload: multi, wants: 'EINVAL' },
  ],
  [
    'map-stop-copy',
    'memory is mapped in stop-copy',
    { ...at('stop-copy'), command: 2, payload: map, wants: 'ok' },
  ],
  [
    'irqs-stop',
    'interrupts are set in stop',
    { ...at('stop'), command: 8, payload: mask, wants: 'ok' },
  ],
  [
    'reset-stop-copy',
    'a reset is allowed everywhere',
    { ...at('stop-copy'), command: 13, payload: new Uint8Array(0), wants: 'ok' },
  ],
  [
    'read-error',
    'no register is read in error',
    { ...failed, command: 9, payload: access, wants: 'EIO' },
  ],
  [
    'write-error',
    'no register is written in error',
    { ...failed, command: 10, payload: write, wants: 'EIO' },
  ],
];

const readData = (size: number, argsz = 8 + size) => u.migData.encode({ argsz, size });
const data = (bytes: Uint8Array) => join(readData(bytes.length), bytes);
const max = limits.vfioUserDataBytesMax;

const readRows: readonly ServerRow[] = [
  [
    'part',
    'as many bytes as asked for',
    {
      ...at('stop-copy'),
      payload: readData(60),
      wants: 'ok',
      reply: data(deviceState.subarray(0, 60)),
      calls: ['state 60'],
    },
  ],
  [
    'end',
    'fewer at the end',
    { ...at('stop-copy'), payload: readData(101), wants: 'ok', reply: data(deviceState) },
  ],
  [
    'pre-copy',
    'while the device runs',
    {
      ...at('pre-copy'),
      payload: readData(1),
      wants: 'ok',
      reply: data(deviceState.subarray(0, 1)),
    },
  ],
  [
    'nothing',
    'no bytes',
    { ...at('stop-copy'), payload: readData(0), wants: 'ok', reply: readData(0) },
  ],
  [
    'most',
    'the most bytes of one message',
    { ...at('stop-copy'), payload: readData(max), wants: 'ok' },
  ],
  ['more', 'a byte more', { ...at('stop-copy'), payload: readData(max + 1), wants: 'EINVAL' }],
  [
    'client',
    'more than the client takes',
    {
      ...at('stop-copy'),
      payload: readData(101),
      client: { maxDataXferBytes: 100 },
      wants: 'EINVAL',
    },
  ],
  [
    'argsz',
    'no room for the data',
    { ...at('stop-copy'), payload: readData(8, 15), wants: 'EINVAL' },
  ],
  [
    'short',
    'seven bytes',
    { ...at('stop-copy'), payload: readData(0).subarray(1), wants: 'EINVAL' },
  ],
  [
    'long',
    'nine bytes',
    { ...at('stop-copy'), payload: join(readData(0), fromHex('00')), wants: 'EINVAL' },
  ],
  ['running', 'while running', { ...full, payload: readData(8), wants: 'EINVAL' }],
  ['stop', 'in stop', { ...at('stop'), payload: readData(8), wants: 'EINVAL' }],
  ['resuming', 'in resuming', { ...at('resuming'), payload: readData(8), wants: 'EINVAL' }],
  ['absent', 'a device that does not migrate', { payload: readData(8), wants: 'EINVAL' }],
];

const writeRows: readonly ServerRow[] = [
  [
    'data',
    'bytes of a state',
    {
      ...at('resuming'),
      payload: data(fromHex('010203')),
      wants: 'ok',
      reply: new Uint8Array(0),
      calls: ['load 3'],
    },
  ],
  [
    'most',
    'the most bytes of one message',
    { ...at('resuming'), payload: data(new Uint8Array(max)), wants: 'ok' },
  ],
  [
    'more',
    'a byte more',
    { ...at('resuming'), payload: data(new Uint8Array(max + 1)), wants: 'EINVAL' },
  ],
  [
    'client',
    'more than the client says of itself',
    {
      ...at('resuming'),
      payload: data(new Uint8Array(101)),
      client: { maxDataXferBytes: 100 },
      wants: 'EINVAL',
    },
  ],
  [
    'argsz',
    'argsz under its length',
    { ...at('resuming'), payload: join(readData(2, 9), fromHex('0102')), wants: 'EINVAL' },
  ],
  [
    'fewer',
    'fewer bytes than it says',
    { ...at('resuming'), payload: join(readData(2), fromHex('01')), wants: 'EINVAL' },
  ],
  [
    'extra',
    'more bytes than it says',
    { ...at('resuming'), payload: join(readData(2), fromHex('010203')), wants: 'EINVAL' },
  ],
  ['running', 'while running', { ...full, payload: data(fromHex('01')), wants: 'EINVAL' }],
  [
    'stop-copy',
    'in stop-copy',
    { ...at('stop-copy'), payload: data(fromHex('01')), wants: 'EINVAL' },
  ],
  ['absent', 'a device that does not migrate', { payload: data(fromHex('01')), wants: 'EINVAL' }],
];

export const migrationRules: readonly Rule[] = [
  ...serverRules('migration-state', command, stateRows),
  ...serverRules('migration-allows', command, allowedRows),
  ...serverRules('migration-read', u.VFIO_USER_MIG_DATA_READ, readRows),
  ...serverRules('migration-write', u.VFIO_USER_MIG_DATA_WRITE, writeRows),
];
