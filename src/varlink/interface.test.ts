// The descriptions and the types of TypeScript say the same.
import { describe, expect, test } from 'vitest';
import { errorTable, LessorError } from '../base/errors.js';
import { toErrorReply } from './errors.js';
import { type IdlStruct, parseIdl } from './idl.js';
import {
  type AcquireParameters,
  type AcquireReply,
  adminDescription,
  controlDescription,
  type EventRecord,
  type FaultRecord,
  type FunctionRecord,
  type InfoReply,
  type InspectReply,
  type LeaseRecord,
  type SliceRecord,
  varlinkErrorName,
  type WindowRecord,
} from './interface.js';
import type { JsonValue } from './json.js';
import { decodeParameters } from './values.js';

const control = parseIdl(controlDescription);
const admin = parseIdl(adminDescription);

/** Every member, which the compiler checks. */
const windowRecord: Required<WindowRecord> = {
  name: 'regs',
  region: 2,
  offset: 0,
  length: 4096,
  access: 'read-write',
};
const fault: Required<FaultRecord> = { iova: 1, access: 'read', reason: 'not mapped' };
const slice: Required<SliceRecord> = {
  name: 'queue0',
  kind: 'queue',
  state: 'free',
  lease: 'id',
  windows: [windowRecord],
  vectors: 1,
};
const fn: Required<FunctionRecord> = {
  name: 'mqdma',
  underside: 'emulated',
  vendor: 1,
  device: 2,
  class: 3,
  pasidBits: 16,
  epoch: 1,
  driver: 'mqdma',
  isolation: 'pasid',
};
const lease: Required<LeaseRecord> = {
  id: 'id',
  slice: 'queue0',
  kind: 'queue',
  state: 'active',
  isolation: 'pasid',
  revocation: 'kernel',
  holder: 'acquirer',
  uid: 1000,
  pid: 1,
  epoch: 1,
  pasid: 1,
  iovaBase: 65_536,
  iovaBytes: 4096,
  mappedBytes: 0,
  vectors: 1,
  exclusive: false,
  createdMs: 1,
  expiresMs: 2,
  reason: 'revoked',
};
const event: Required<EventRecord> = {
  atMs: 1,
  type: 'fault',
  lease: 'id',
  slice: 'queue0',
  uid: 1000,
  pid: 1,
  state: 'active',
  reason: 'x',
  graceMs: 1,
  fault,
  phase: 'zap',
  micros: 3,
  outcome: 'gone',
};
const info: Required<InfoReply> = {
  version: '1',
  pid: 1,
  uid: 1,
  function: fn,
  slices: [slice],
  quarantined: ['queue1'],
};
const acquire: Required<AcquireParameters> = {
  kind: 'queue',
  slice: 'queue0',
  memoryBytes: 4096,
  vectors: 1,
  isolation: 'pasid',
  revocation: 'kernel',
  exclusive: false,
  mapped: false,
  ttlMs: 1,
  holder: 'fd',
  waitMs: 0,
  priority: 0,
  listen: 0,
};
const acquired: Required<AcquireReply> = { lease, fd: 0, event };
const inspect: Required<InspectReply> = {
  fdDirectory: 0,
  maps: 1,
  iovaBytes: 0,
  pasids: 0,
  processes: [1],
  leases: 0,
};

const typed: [string, IdlStruct, object][] = [
  ['Window', control.types.get('Window') as IdlStruct, windowRecord],
  ['Slice', control.types.get('Slice') as IdlStruct, slice],
  ['Function', control.types.get('Function') as IdlStruct, fn],
  ['Lease', control.types.get('Lease') as IdlStruct, lease],
  ['Fault', control.types.get('Fault') as IdlStruct, fault],
  ['Event', control.types.get('Event') as IdlStruct, event],
  ['GetInfo', control.methods.get('GetInfo')!.output, info],
  ['Acquire', control.methods.get('Acquire')!.input, acquire],
  ['Acquire ->', control.methods.get('Acquire')!.output, acquired],
];

describe('records', () => {
  test.each(typed)('%s', (_, struct, value) => {
    const decoded = decodeParameters(control, struct, value as object as JsonValue, 'strict');
    expect(decoded).toEqual(value);
    expect(struct.fields.map(({ name }) => name)).toEqual(Object.keys(value));
  });

  test('Inspect', () => {
    const { output } = admin.methods.get('Inspect')!;
    expect(decodeParameters(admin, output, inspect as object as JsonValue, 'strict')).toEqual(
      inspect,
    );
    expect(output.fields).toHaveLength(Object.keys(inspect).length);
  });

  test('what TypeScript lets one leave out may be left out', () => {
    const request: AcquireParameters = { memoryBytes: 1 };
    const { input } = control.methods.get('Acquire')!;
    expect(decodeParameters(control, input, request as object as JsonValue, 'strict')).toEqual(
      request,
    );
    const plain: EventRecord = { atMs: 1, type: 'reset' };
    const struct = control.types.get('Event') as IdlStruct;
    expect(decodeParameters(control, struct, plain as object as JsonValue, 'strict')).toEqual(
      plain,
    );
    const needed = { ...lease } as Partial<LeaseRecord>;
    for (const name of ['pid', 'pasid', 'expiresMs', 'reason'] as const) delete needed[name];
    const type = control.types.get('Lease') as IdlStruct;
    expect(decodeParameters(control, type, needed as object as JsonValue, 'strict')).toEqual(
      needed,
    );
  });
});

describe('errors', () => {
  test.each([control, admin])('$name declares all, each with what is sent', (idl) => {
    for (const code of Object.keys(errorTable) as (keyof typeof errorTable)[]) {
      const reply = toErrorReply(idl.name, new LessorError(code, 'detail'))!;
      expect(reply.error).toBe(varlinkErrorName(idl.name, code));
      const declared = idl.errors.get(reply.error.slice(idl.name.length + 1))!;
      expect(
        decodeParameters(idl, declared, reply.parameters as object as JsonValue, 'strict'),
      ).toEqual(reply.parameters);
    }
    expect(idl.errors.size).toBe(Object.keys(errorTable).length);
  });

  test('have names without underscores', () => {
    expect(varlinkErrorName('io.lessor.Control', 'LEASE_REVOKED')).toBe(
      'io.lessor.Control.LeaseRevoked',
    );
  });
});
