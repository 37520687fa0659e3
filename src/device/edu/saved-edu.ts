// What an EDU device takes along when it migrates.
import { bytes, flags32, struct, u32, u64 } from '../../uapi/struct.js';
import { loadState } from '../saved-state.js';
import { edu, eduStatus } from './registers.js';

/** "edu " in memory order. */
const header = { magic: 0x20756465, version: 1 };

const codec = struct('edu_state', 56 + edu.bufferBytes, {
  magic: u32,
  version: u32,
  liveness: u32,
  factorial: u32,
  status: flags32(eduStatus.COMPUTING | eduStatus.FACTORIAL_INTERRUPT),
  interruptStatus: u32,
  source: u64,
  destination: u64,
  count: u64,
  command: u64,
  buffer: bytes(edu.bufferBytes),
});

export interface SavedEdu {
  readonly liveness: number;
  readonly factorial: number;
  readonly status: number;
  readonly interruptStatus: number;
  readonly source: bigint;
  readonly destination: bigint;
  readonly count: bigint;
  readonly command: bigint;
  readonly buffer: Uint8Array;
}

export function encodeEdu(value: SavedEdu): Uint8Array {
  return codec.encode({ ...header, ...value });
}

/**
 * Every register may hold any value that a driver could have written, so nothing more needs a
 * check: what the values ask for is judged when it is done.
 *
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function decodeEdu(state: Uint8Array): SavedEdu {
  return loadState(codec, header, state);
}
