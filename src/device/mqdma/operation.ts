// From a private copy of a descriptor to a checked operation; nothing here touches memory.
import { faultReasons } from '../../iommu/types.js';
import {
  accessCode,
  completionStatus,
  descriptorFlag,
  descriptorWord,
  mqdma,
  opcode,
} from './datasheet.js';
import { join64, type QueueState } from './queue-state.js';

const { addressEnd, transferBytesMax } = mqdma;
const { OPCODE, PASID, TAG, LENGTH, SOURCE, DESTINATION, PATTERN, SEED } = descriptorWord;

export const reasonIndex = {
  notMapped: faultReasons.indexOf('not mapped'),
  outOfBounds: faultReasons.indexOf('out of bounds'),
  notReachable: faultReasons.indexOf('not reachable'),
  memoryGone: faultReasons.indexOf('memory gone'),
  wrongPasid: faultReasons.indexOf('wrong pasid'),
} as const;

const lengthBit = 1 << LENGTH;
const sourceBits = 3 << SOURCE;
const destinationBits = 3 << DESTINATION;

/** Per opcode, a bit for each descriptor word it uses; 0: no such opcode. */
const wordsUsed = new Uint32Array(256);
wordsUsed[opcode.NOP] = 0;
wordsUsed[opcode.COPY] = lengthBit | sourceBits | destinationBits;
wordsUsed[opcode.FILL] = lengthBit | destinationBits | (3 << PATTERN);
wordsUsed[opcode.COMPARE] = lengthBit | sourceBits | destinationBits;
wordsUsed[opcode.CRC32C] = lengthBit | sourceBits | (1 << SEED);
for (const code of Object.values(opcode)) {
  wordsUsed[code] = wordsUsed[code]! | (1 << OPCODE) | (1 << PASID) | (1 << TAG);
}

/**
 * Checks a whole range, wrap included, before a byte of it moves.
 *
 * @returns -1, or the index of a reason in `faultReasons`.
 */
export function checkRange(queue: QueueState, high: number, low: number, length: number): number {
  if (length === 0) return -1;
  const start = join64(high, low);
  const end = start + length;
  if (end > addressEnd) return queue.bounded ? reasonIndex.outOfBounds : reasonIndex.notMapped;
  if (start < queue.boundsBase || end > queue.boundsEnd) return reasonIndex.outOfBounds;
  return -1;
}

/** Why an operation cannot start. Filled in place: one per engine. */
export interface Refusal {
  access: number;
  reason: number;
  high: number;
  low: number;
}

function refuse(into: Refusal, access: number, reason: number, high: number, low: number): number {
  into.access = access;
  into.reason = reason;
  into.high = high;
  into.low = low;
  return completionStatus.FAULT;
}

/** True when every word that the opcode does not use is 0. */
function reservedAreZero(words: Uint32Array, used: number): boolean {
  for (let index = 0; index < 16; index++) {
    if (words[index] !== 0 && (used & (1 << index)) === 0) return false;
  }
  return true;
}

/**
 * Decodes `queue.descriptor` into the queue's operation and checks its ranges.
 *
 * @returns OK: the operation may start. INVALID: to be completed so. FAULT: `refusal` says why.
 */
export function beginOperation(queue: QueueState, refusal: Refusal): number {
  const words = queue.descriptor;
  const first = words[OPCODE]!;
  const code = first & 0xff;
  const flags = first & ~0xff;
  const used = wordsUsed[code]!;
  queue.tag = words[TAG]!;
  queue.opcode = code;
  queue.result = 0;
  if (used === 0 || (flags & ~descriptorFlag.PASID_TAG) !== 0) {
    return completionStatus.INVALID;
  }
  const length = words[LENGTH]!;
  if (!reservedAreZero(words, used) || length > transferBytesMax) return completionStatus.INVALID;
  if ((flags & descriptorFlag.PASID_TAG) === 0) {
    if (words[PASID] !== 0) return completionStatus.INVALID;
  } else if (words[PASID] !== queue.pasid) {
    return refuse(refusal, accessCode.READ, reasonIndex.wrongPasid, 0, 0);
  }
  queue.lengthBytes = length;
  queue.doneBytes = 0;
  queue.source = join64(words[SOURCE + 1]!, words[SOURCE]!);
  queue.destination = join64(words[DESTINATION + 1]!, words[DESTINATION]!);
  if (code === opcode.CRC32C) queue.result = words[SEED]!;
  return checkOperands(queue, words, used, refusal);
}

function checkOperands(
  queue: QueueState,
  words: Uint32Array,
  used: number,
  refusal: Refusal,
): number {
  const length = queue.lengthBytes;
  if ((used & sourceBits) !== 0) {
    const high = words[SOURCE + 1]!;
    const low = words[SOURCE]!;
    const reason = checkRange(queue, high, low, length);
    if (reason >= 0) return refuse(refusal, accessCode.READ, reason, high, low);
  }
  if ((used & destinationBits) !== 0) {
    const high = words[DESTINATION + 1]!;
    const low = words[DESTINATION]!;
    const reason = checkRange(queue, high, low, length);
    const access = queue.opcode === opcode.COMPARE ? accessCode.READ : accessCode.WRITE;
    if (reason >= 0) return refuse(refusal, access, reason, high, low);
  }
  return completionStatus.OK;
}
