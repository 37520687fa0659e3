// The VERSION message: two numbers and capabilities in JSON. Both sides read it with this.
import { ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { VFIO_USER_MAJOR, VFIO_USER_MINOR, versionHeader } from '../uapi/vfio-user.js';

/** What one side says of itself. */
export interface Capabilities {
  /** Descriptors it can receive with one message. */
  readonly maxMsgFds: number;
  /** Data bytes it takes in one message. */
  readonly maxDataXferBytes: number;
  readonly maxDmaMaps: number;
  /** Granularities of DMA maps, one bit each. */
  readonly pageSizes: bigint;
  /** REGION_WRITE_MULTI is understood. */
  readonly writeMultiple: boolean;
  /** Commands of the server go over a socket of their own: asked for, or granted. */
  readonly twinSocket: boolean;
  /** Undefined: neither migration nor dirty pages. */
  readonly migration: MigrationCapability | undefined;
}

/** Not in the text of the specification, but on the wire of QEMU and libvfio-user. */
export interface MigrationCapability {
  /** Smallest page of a dirty bitmap, a power of two. */
  readonly pageBytes: number;
  /** Largest dirty bitmap. */
  readonly bitmapBytesMax: number;
}

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly capabilities: Capabilities;
  /** Which of the reply's descriptors is the client's end of the twin socket. */
  readonly twinFdIndex?: number;
  /** Bytes that the JSON took; 0: there was none. */
  readonly jsonBytes?: number;
}

/** What a peer that says nothing is taken to say. */
const defaultCapabilities: Capabilities = {
  maxMsgFds: 1,
  maxDataXferBytes: 1_048_576,
  maxDmaMaps: 65_535,
  pageSizes: 4096n,
  writeMultiple: false,
  twinSocket: false,
  migration: undefined,
};

/** What an empty `migration` says, as QEMU has it. */
const defaultMigration: MigrationCapability = {
  pageBytes: 4096,
  bitmapBytesMax: 268_435_456,
};

/** What we say unless the caller says otherwise. */
export const ownCapabilities: Capabilities = {
  maxMsgFds: limits.vfioUserFdsMax,
  maxDataXferBytes: limits.vfioUserDataBytesMax,
  maxDmaMaps: limits.mapsPerLeaseMax,
  pageSizes: 4096n,
  writeMultiple: true,
  twinSocket: false,
  migration: { pageBytes: 4096, bitmapBytesMax: limits.vfioUserBitmapBytesMax },
};

/** libvfio-user refuses more. */
const peerFdsMax = 1024;

function refuse(detail: string, cause?: unknown): never {
  const options = cause === undefined ? {} : { cause };
  throw new ProtocolError('vfio_user_version.json', versionHeader.sizeBytes, detail, options);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown): value is number {
  return Number.isInteger(value);
}

function member(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  if (bytes.length === 0) return {};
  if (bytes[bytes.length - 1] !== 0) refuse('no terminating NUL');
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, -1));
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : refuse('not an object');
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    refuse('not JSON', error);
  }
}

function count(
  capabilities: Readonly<Record<string, unknown>>,
  key: string,
  min: number,
  max: number,
  absent: number,
): number {
  const value = member(capabilities, key);
  if (value === undefined) return absent;
  if (!isInteger(value) || value < min || value > max) {
    refuse(`${key} is not an integer in ${min}..${max}`);
  }
  return value;
}

function flag(record: Readonly<Record<string, unknown>>, key: string): boolean {
  const value = member(record, key);
  if (value === undefined) return false;
  return typeof value === 'boolean' ? value : refuse(`${key} is not true or false`);
}

/** An object within; undefined when it is not there. `null` is there, and is none. */
function group(
  record: Readonly<Record<string, unknown>>,
  key: string,
): Readonly<Record<string, unknown>> | undefined {
  const value = member(record, key);
  if (value === undefined) return undefined;
  return isRecord(value) ? value : refuse(`${key} is not an object`);
}

function decodeMigration(
  capabilities: Readonly<Record<string, unknown>>,
): MigrationCapability | undefined {
  const said = group(capabilities, 'migration');
  if (said === undefined) return undefined;
  const pageBytes = count(said, 'pgsize', 1, 2 ** 53, defaultMigration.pageBytes);
  if (!Number.isInteger(Math.log2(pageBytes))) refuse(`pgsize ${pageBytes} is no power of two`);
  const absent = defaultMigration.bitmapBytesMax;
  return { pageBytes, bitmapBytesMax: count(said, 'max_bitmap_size', 1, 2 ** 53, absent) };
}

/**
 * Decodes the payload of VERSION or of its reply. Unknown capabilities are ignored.
 *
 * @throws ProtocolError `EINVAL`: another major version, bad JSON, a wrong type or value.
 */
export function decodeVersion(payload: Uint8Array): Version {
  const { major, minor } = versionHeader.decodeAt(payload, 0);
  if (major !== VFIO_USER_MAJOR) {
    throw new ProtocolError('vfio_user_version.major', 0, `major version ${major}`);
  }
  const jsonBytes = payload.subarray(versionHeader.sizeBytes);
  const json = parseJson(jsonBytes);
  const said = group(json, 'capabilities') ?? {};
  const absent = defaultCapabilities;
  const twin = group(said, 'twin_socket');
  const pages = member(said, 'pgsizes');
  // A mask of all bits is above 2^53 but, being a round number, still exact in a double.
  const pageSizes = count(said, 'pgsizes', 1, 2 ** 64, Number(absent.pageSizes));
  const capabilities = {
    maxMsgFds: count(said, 'max_msg_fds', 0, peerFdsMax, absent.maxMsgFds),
    maxDataXferBytes: count(said, 'max_data_xfer_size', 1, 2 ** 53, absent.maxDataXferBytes),
    maxDmaMaps: count(said, 'max_dma_maps', 1, 2 ** 53, absent.maxDmaMaps),
    pageSizes: pages === undefined ? absent.pageSizes : BigInt(pageSizes),
    writeMultiple: flag(said, 'write_multiple'),
    twinSocket: twin !== undefined && flag(twin, 'supported'),
    migration: decodeMigration(said),
  };
  const version = { major, minor, capabilities, jsonBytes: jsonBytes.length };
  if (twin === undefined || member(twin, 'fd_index') === undefined) return version;
  return { ...version, twinFdIndex: count(twin, 'fd_index', 0, peerFdsMax, 0) };
}

/** The keys and values of our JSON. */
function saidOf(capabilities: Capabilities, twinFdIndex: number | undefined) {
  const { migration, twinSocket } = capabilities;
  const index = twinFdIndex === undefined ? {} : { fd_index: twinFdIndex };
  return {
    max_msg_fds: capabilities.maxMsgFds,
    max_data_xfer_size: capabilities.maxDataXferBytes,
    max_dma_maps: capabilities.maxDmaMaps,
    pgsizes: Number(capabilities.pageSizes),
    ...(migration === undefined
      ? {}
      : { migration: { pgsize: migration.pageBytes, max_bitmap_size: migration.bitmapBytesMax } }),
    ...(twinSocket ? { twin_socket: { supported: true, ...index } } : {}),
    ...(capabilities.writeMultiple ? { write_multiple: true } : {}),
  };
}

const saidByDefault: Readonly<Record<string, unknown>> = saidOf(defaultCapabilities, undefined);

function jsonText(said: object): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify({ capabilities: said })}\0`);
}

/**
 * The payload of VERSION or of its reply.
 *
 * @param reply - `jsonBytesMax`: what says no more than nothing would say is left out when the
 *   JSON would be longer, for QEMU reads the reply into the room of its own proposal.
 */
export function encodeVersion(
  minor: number,
  capabilities: Capabilities,
  reply: { readonly twinFdIndex?: number; readonly jsonBytesMax?: number } = {},
): Uint8Array {
  const { twinFdIndex, jsonBytesMax = Number.POSITIVE_INFINITY } = reply;
  const said: Record<string, unknown> = saidOf(capabilities, twinFdIndex);
  let text = jsonText(said);
  if (text.length > jsonBytesMax) {
    for (const [key, value] of Object.entries(said)) {
      if (saidByDefault[key] === value) delete said[key];
    }
    text = jsonText(said);
  }
  const payload = new Uint8Array(versionHeader.sizeBytes + text.length);
  versionHeader.encodeAt({ major: VFIO_USER_MAJOR, minor }, payload, 0);
  payload.set(text, versionHeader.sizeBytes);
  return payload;
}

/** Pages as both can tell apart, bitmaps as both can take. */
function answerMigration(
  theirs: MigrationCapability | undefined,
  own: MigrationCapability | undefined,
): MigrationCapability | undefined {
  if (theirs === undefined || own === undefined) return undefined;
  return {
    pageBytes: Math.max(theirs.pageBytes, own.pageBytes),
    bitmapBytesMax: Math.min(theirs.bitmapBytesMax, own.bitmapBytesMax),
  };
}

/**
 * The server's answer to a proposal: the lower minor version, no more than was proposed.
 *
 * @throws ProtocolError `EINVAL` when no page size suits both.
 */
export function answerVersion(proposed: Version, own: Capabilities): Version {
  const theirs = proposed.capabilities;
  const pageSizes = theirs.pageSizes & own.pageSizes;
  if (pageSizes === 0n) refuse('no page size in common');
  return {
    major: VFIO_USER_MAJOR,
    minor: Math.min(proposed.minor, VFIO_USER_MINOR),
    capabilities: {
      maxMsgFds: own.maxMsgFds,
      maxDataXferBytes: own.maxDataXferBytes,
      maxDmaMaps: Math.min(theirs.maxDmaMaps, own.maxDmaMaps),
      pageSizes,
      writeMultiple: theirs.writeMultiple && own.writeMultiple,
      twinSocket: theirs.twinSocket && own.twinSocket && theirs.maxMsgFds > 0,
      migration: answerMigration(theirs.migration, own.migration),
    },
  };
}
