// A served device's state as bytes, for another server of the same device: registers that the
// server keeps, frames, and what the device itself saves. Pure; what is decoded is hostile.
//
//   0  4  "LSDS"           then per section, each at a multiple of 8
//   4  4  version, 1         0  4  kind
//   8  4  sections           4  4  region, of a frame
//  12  4  bytes in all       8  4  offset in that region
//                           12  4  length, and then the bytes
import { LessorError } from '../../base/errors.js';
import { roundUp } from '../../base/units.js';
import { u32 } from '../../uapi/struct.js';

/** What stands in a section. */
export const stateKind = {
  config: 1,
  msixTable: 2,
  msixPending: 3,
  msiPending: 4,
  pin: 5,
  frame: 6,
  device: 7,
} as const;
export type StateKind = (typeof stateKind)[keyof typeof stateKind];

export interface StateSection {
  readonly kind: StateKind;
  /** 0 except for frames. */
  readonly region: number;
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

const magic = 0x5344_534c;
const version = 1;
const headBytes = 16;
const sectionHeadBytes = 16;

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', `device state: ${detail}`);
}

export function encodeState(sections: readonly StateSection[]): Uint8Array {
  const totalBytes = sections.reduce(
    (sum, { bytes }) => sum + sectionHeadBytes + roundUp(bytes.length, 8),
    headBytes,
  );
  const state = new Uint8Array(totalBytes);
  const head = [magic, version, sections.length, totalBytes];
  head.forEach((value, word) => {
    u32.write(state, 4 * word, value, 'state');
  });
  let at = headBytes;
  for (const { kind, region, offsetBytes, bytes } of sections) {
    const fields = [kind, region, offsetBytes, bytes.length];
    fields.forEach((value, word) => {
      u32.write(state, at + 4 * word, value, 'section');
    });
    state.set(bytes, at + sectionHeadBytes);
    at += sectionHeadBytes + roundUp(bytes.length, 8);
  }
  return state;
}

/**
 * Takes a state apart that must have the same sections as `expected`: kinds, places and lengths.
 * The last one, the device's own, may have any length.
 *
 * @returns The bytes of each section, views of `state`.
 * @throws LessorError `INVALID_ARGUMENT` for anything else.
 */
export function decodeState(state: Uint8Array, expected: readonly StateSection[]): Uint8Array[] {
  if (state.length < headBytes) refuse(`${state.length} bytes`);
  const word = (at: number): number => u32.read(state, at, 'state');
  if (word(0) !== magic) refuse('is none');
  if (word(4) !== version) refuse(`version ${word(4)}`);
  if (word(8) !== expected.length) refuse(`${word(8)} sections, not ${expected.length}`);
  if (word(12) !== state.length) refuse(`${word(12)} bytes, but ${state.length} came`);
  let at = headBytes;
  const parts = expected.map(({ kind, region, offsetBytes, bytes }, index) => {
    if (at + sectionHeadBytes > state.length) refuse(`ends in section ${index}`);
    const isSame = word(at) === kind && word(at + 4) === region && word(at + 8) === offsetBytes;
    if (!isSame) refuse(`section ${index} is of another device`);
    const lengthBytes = word(at + 12);
    const isOwn = kind === stateKind.device;
    if (!isOwn && lengthBytes !== bytes.length) refuse(`section ${index}: ${lengthBytes} bytes`);
    const start = at + sectionHeadBytes;
    at = start + roundUp(lengthBytes, 8);
    if (at > state.length) refuse(`ends in section ${index}`);
    return state.subarray(start, start + lengthBytes);
  });
  if (at !== state.length) refuse('has bytes behind its end');
  return parts;
}
