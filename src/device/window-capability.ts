// The window list of a lease as its device shows it: the payload of a vendor-specific capability.
//
//   0  2  signature "LW"          then per window
//   2  1  version, 1                0  1  length of the name, n, 1 to 12
//   3  1  number of windows         1  n  name, printable ASCII
//                                 n+1  1  region, 0 to 5
//                                 n+2  1  access: 0 read, 1 read-write; 2 more: write-combining
//                                 n+3  4  offset in the region
//                                 n+7  4  length in bytes, not 0
import { LessorError, ProtocolError } from '../base/errors.js';
import type { WindowMemory } from '../base/labels.js';
import { limits } from '../base/limits.js';
import { vendorPayloads } from './config-space-capabilities.js';

/** A window of a lease, where the lease's own device shows it. */
export interface ShownWindow {
  readonly name: string;
  /** BAR of the lease's device. */
  readonly region: number;
  /** First byte in that BAR. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly access: 'read-write' | 'read';
  /** What its mappings may do at most. */
  readonly memory: WindowMemory;
}

const signature = [0x4c, 0x57] as const;
const version = 1;
const headBytes = 4;
const fixedBytes = 11;
/** Capability id, next pointer and length byte stand before the payload. */
const payloadBytesMax = limits.windowListBytesMax - 3;
const path = 'window_capability';

const writeBit = 1;
const combineBit = 2;

function accessByte({ access, memory }: ShownWindow): number {
  return (access === 'read-write' ? writeBit : 0) | (memory === 'write-combining' ? combineBit : 0);
}

function isName(name: string): boolean {
  return /^[\x21-\x7e]+$/.test(name) && name.length <= limits.windowNameBytesMax;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function problemOf(window: ShownWindow): string | undefined {
  const { name, region, offsetBytes, lengthBytes } = window;
  if (!isName(name)) return `name "${name}" is not 1 to ${limits.windowNameBytesMax} of ASCII`;
  if (!Number.isInteger(region) || region < 0 || region > 5) return `region ${region} is no BAR`;
  const end = offsetBytes + lengthBytes;
  if (isU32(offsetBytes) && isU32(lengthBytes) && lengthBytes > 0 && end <= 2 ** 32) return;
  return `${lengthBytes} bytes at ${offsetBytes} is no range of a 32-bit BAR`;
}

function duplicateIn(windows: readonly ShownWindow[]): string | undefined {
  const names = windows.map((window) => window.name);
  return names.find((name, index) => names.indexOf(name) !== index);
}

/**
 * The payload for a list of windows.
 *
 * @throws LessorError `DRIVER_INVALID`: a name, range or region that cannot be shown, a name
 *   twice, or a list that would take more than 128 bytes as a capability.
 */
export function encodeWindowCapability(windows: readonly ShownWindow[]): Uint8Array {
  const refuse = (detail: string) => new LessorError('DRIVER_INVALID', detail);
  const names = windows.map((window) => window.name.length);
  const lengthBytes = names.reduce((sum, length) => sum + fixedBytes + length, headBytes);
  if (lengthBytes > payloadBytesMax) {
    throw refuse(`the window list takes ${lengthBytes} bytes, over ${payloadBytesMax}`);
  }
  const twice = duplicateIn(windows);
  if (twice !== undefined) throw refuse(`two windows are named "${twice}"`);
  const bytes = new Uint8Array(lengthBytes);
  const view = new DataView(bytes.buffer);
  bytes.set([...signature, version, windows.length]);
  let at = headBytes;
  for (const window of windows) {
    const problem = problemOf(window);
    if (problem !== undefined) throw refuse(problem);
    const { name, region, offsetBytes } = window;
    bytes[at] = name.length;
    bytes.set(Buffer.from(name, 'ascii'), at + 1);
    at += 1 + name.length;
    bytes.set([region, accessByte(window)], at);
    view.setUint32(at + 2, offsetBytes, true);
    view.setUint32(at + 6, window.lengthBytes, true);
    at += 10;
  }
  return bytes;
}

/** True when a vendor-specific payload is a window list of any version. */
export function isWindowCapability(payload: Uint8Array): boolean {
  return payload[0] === signature[0] && payload[1] === signature[1];
}

function decodeWindow(payload: Uint8Array, at: number): ShownWindow {
  const nameBytes = payload[at];
  if (nameBytes === undefined || at + fixedBytes + nameBytes > payload.length) {
    throw new ProtocolError(`${path}.name`, at, 'the list ends within a window');
  }
  const name = Buffer.from(payload.subarray(at + 1, at + 1 + nameBytes)).toString('latin1');
  const rest = at + 1 + nameBytes;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const access = payload[rest + 1] as number;
  if (access > (writeBit | combineBit))
    throw new ProtocolError(`${path}.access`, rest + 1, `${access}`);
  const window = {
    name,
    region: payload[rest] as number,
    offsetBytes: view.getUint32(rest + 2, true),
    lengthBytes: view.getUint32(rest + 6, true),
    access: (access & writeBit) === 0 ? ('read' as const) : ('read-write' as const),
    memory: (access & combineBit) === 0 ? ('device' as const) : ('write-combining' as const),
  };
  const problem = problemOf(window);
  if (problem !== undefined) throw new ProtocolError(path, at, problem);
  return window;
}

/**
 * Decodes a payload strictly.
 *
 * @throws ProtocolError for another version, a truncated or overlong list, or a bad window.
 */
export function decodeWindowCapability(payload: Uint8Array): ShownWindow[] {
  if (!isWindowCapability(payload)) throw new ProtocolError(`${path}.signature`, 0, 'is another');
  if (payload[2] !== version) {
    throw new ProtocolError(`${path}.version`, 2, `version ${payload[2]}`);
  }
  const windows: ShownWindow[] = [];
  let at = headBytes;
  for (let left = payload[3] ?? 0; left > 0; left--) {
    const window = decodeWindow(payload, at);
    windows.push(window);
    at += fixedBytes + window.name.length;
  }
  if (at !== payload.length) throw new ProtocolError(path, at, 'bytes behind the last window');
  const twice = duplicateIn(windows);
  if (twice !== undefined) throw new ProtocolError(path, 0, `two windows are named "${twice}"`);
  return windows;
}

/**
 * The windows that a configuration space lists, undefined when it has no list.
 *
 * @throws ProtocolError for a bad capability chain or a bad list.
 */
export function findWindows(config: Uint8Array): ShownWindow[] | undefined {
  const payload = vendorPayloads(config).find(isWindowCapability);
  return payload === undefined ? undefined : decodeWindowCapability(payload);
}
