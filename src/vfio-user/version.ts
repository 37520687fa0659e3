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
}

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly capabilities: Capabilities;
}

/** What a peer that says nothing is taken to say. */
const defaultCapabilities: Capabilities = {
  maxMsgFds: 1,
  maxDataXferBytes: 1_048_576,
  maxDmaMaps: 65_535,
  pageSizes: 4096n,
};

/** What we say unless the caller says otherwise. */
export const ownCapabilities: Capabilities = {
  maxMsgFds: limits.vfioUserFdsMax,
  maxDataXferBytes: limits.vfioUserDataBytesMax,
  maxDmaMaps: limits.mapsPerLeaseMax,
  pageSizes: 4096n,
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
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    refuse(`${key} is not an integer in ${min}..${max}`);
  }
  return value;
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
  const json = parseJson(payload.subarray(versionHeader.sizeBytes));
  const said = member(json, 'capabilities') ?? {};
  if (!isRecord(said)) refuse('capabilities is not an object');
  const absent = defaultCapabilities;
  const pages = member(said, 'pgsizes');
  // A mask of all bits is above 2^53 but, being a round number, still exact in a double.
  const pageSizes = count(said, 'pgsizes', 1, 2 ** 64, Number(absent.pageSizes));
  const capabilities = {
    maxMsgFds: count(said, 'max_msg_fds', 0, peerFdsMax, absent.maxMsgFds),
    maxDataXferBytes: count(said, 'max_data_xfer_size', 1, 2 ** 53, absent.maxDataXferBytes),
    maxDmaMaps: count(said, 'max_dma_maps', 1, 2 ** 53, absent.maxDmaMaps),
    pageSizes: pages === undefined ? absent.pageSizes : BigInt(pageSizes),
  };
  return { major, minor, capabilities };
}

/** The payload of VERSION or of its reply. */
export function encodeVersion(minor: number, capabilities: Capabilities): Uint8Array {
  const json = JSON.stringify({
    capabilities: {
      max_msg_fds: capabilities.maxMsgFds,
      max_data_xfer_size: capabilities.maxDataXferBytes,
      max_dma_maps: capabilities.maxDmaMaps,
      pgsizes: Number(capabilities.pageSizes),
    },
  });
  const text = new TextEncoder().encode(`${json}\0`);
  const payload = new Uint8Array(versionHeader.sizeBytes + text.length);
  versionHeader.encodeAt({ major: VFIO_USER_MAJOR, minor }, payload, 0);
  payload.set(text, versionHeader.sizeBytes);
  return payload;
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
    },
  };
}
