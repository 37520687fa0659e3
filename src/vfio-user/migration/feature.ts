// DEVICE_FEATURE: what of the device can be asked, set and probed.
import { assert } from '../../base/errors.js';
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from '../../uapi/vfio.js';
import { deviceFeature, featureMigration, featureMigState } from '../../uapi/vfio-user.js';
import { checkArgsz, refuse } from '../checks.js';
import type { CommandContext } from '../context.js';
import type { Message } from '../framing.js';
import type { Reply } from '../reply.js';
import { report, startLogging, stopLogging } from './logging.js';
import { stateNumbers, stateOf } from './states.js';

const headBytes = deviceFeature.sizeBytes;
const operations = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const knownFlags = VFIO_DEVICE_FEATURE_MASK | operations | VFIO_DEVICE_FEATURE_PROBE;
const flagsField = `${deviceFeature.name}.flags`;
const argszField = deviceFeature.name;

/** What a reply to GET puts behind the head; the request's data, if any, comes in. */
type Get = (context: CommandContext, data: Uint8Array, dataBytesMax: number) => Uint8Array;
/** What a reply to SET puts behind the head. */
type Set = (context: CommandContext, data: Uint8Array) => Uint8Array | Promise<Uint8Array>;

interface Feature {
  isThere(context: CommandContext): boolean;
  readonly get?: Get;
  readonly set?: Set;
}

const migrates = ({ endpoint }: CommandContext): boolean => endpoint.migration !== undefined;
const logs = ({ endpoint }: CommandContext): boolean => endpoint.dirtyPages !== undefined;

function getMigration({ endpoint }: CommandContext): Uint8Array {
  const preCopy = endpoint.migration?.preCopy === true ? VFIO_MIGRATION_PRE_COPY : 0;
  return featureMigration.encode({ flags: VFIO_MIGRATION_STOP_COPY | preCopy });
}

/** In place of a descriptor that does not exist. */
const noFd = 0xffff_ffff;

function getState({ migration }: CommandContext): Uint8Array {
  const deviceState = stateNumbers[migration.state];
  return featureMigState.encode({ deviceState, dataFd: noFd });
}

async function setState(context: CommandContext, data: Uint8Array): Promise<Uint8Array> {
  const { deviceState } = featureMigState.decode(data);
  await context.migration.go(stateOf(deviceState), () => context.isLive());
  return data;
}

const features = new Map<number, Feature>([
  [VFIO_DEVICE_FEATURE_MIGRATION, { isThere: migrates, get: getMigration }],
  [VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, { isThere: migrates, get: getState, set: setState }],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START, { isThere: logs, set: startLogging }],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, { isThere: logs, set: stopLogging }],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, { isThere: logs, get: report }],
]);

function withHead(payload: Uint8Array, argsz: number, tail: Uint8Array): Reply {
  const { flags } = deviceFeature.decodeAt(payload, 0);
  return { head: deviceFeature.encode({ argsz, flags }), tail };
}

function get(context: CommandContext, feature: Feature, payload: Uint8Array): Reply {
  const { argsz } = deviceFeature.decodeAt(payload, 0);
  assert(feature.get !== undefined, 'was checked');
  const data = feature.get(context, payload.subarray(headBytes), argsz - headBytes);
  checkArgsz(argszField, argsz, headBytes + data.length);
  return withHead(payload, headBytes + data.length, data);
}

function set(context: CommandContext, feature: Feature, payload: Uint8Array) {
  const { argsz } = deviceFeature.decodeAt(payload, 0);
  assert(feature.set !== undefined, 'was checked');
  const reply = (data: Uint8Array): Reply => withHead(payload, argsz, data);
  const data = feature.set(context, payload.subarray(headBytes));
  return data instanceof Promise ? data.then(reply) : reply(data);
}

/** @see vfio-user DEVICE_FEATURE */
export function useFeature(context: CommandContext, { payload }: Message): Reply | Promise<Reply> {
  const { argsz, flags } = deviceFeature.decodeAt(payload, 0);
  if ((flags & ~knownFlags) !== 0) refuse(flagsField, 4, `0x${flags.toString(16)}`);
  const isProbe = (flags & VFIO_DEVICE_FEATURE_PROBE) !== 0;
  const wanted = flags & operations;
  if (!isProbe && wanted !== VFIO_DEVICE_FEATURE_GET && wanted !== VFIO_DEVICE_FEATURE_SET) {
    refuse(flagsField, 4, 'not one of GET and SET');
  }
  const feature = features.get(flags & VFIO_DEVICE_FEATURE_MASK);
  if (feature?.isThere(context) !== true) refuse(flagsField, 4, 'no such feature here');
  const canGet = feature.get === undefined ? 0 : VFIO_DEVICE_FEATURE_GET;
  const canSet = feature.set === undefined ? 0 : VFIO_DEVICE_FEATURE_SET;
  if ((wanted & ~(canGet | canSet)) !== 0) refuse(flagsField, 4, 'the feature cannot do it');
  if (!isProbe && wanted === VFIO_DEVICE_FEATURE_GET) return get(context, feature, payload);
  // The reply repeats the request.
  checkArgsz(argszField, argsz, payload.length);
  return isProbe ? { head: payload } : set(context, feature, payload);
}
