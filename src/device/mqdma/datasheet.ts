// The datasheet of mqdma as tables: every register, bit, descriptor and completion field. The
// device, its driver and the queue library take their offsets from here and nowhere else;
// docs/reference/mqdma-datasheet.md is generated from the same rows.
import { faultReasons } from '../../iommu/types.js';

export interface Row {
  readonly name: string;
  readonly text: string;
}

export interface RegisterRow extends Row {
  readonly offsetBytes: number;
  /** ro: writes dropped; rw; wo: reads 0; w1c: writing ones clears. */
  readonly access: 'ro' | 'rw' | 'wo' | 'w1c';
}

export interface FieldRow extends Row {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface CodeRow extends Row {
  readonly code: number;
}

type Named<Rows extends readonly Row[]> = { readonly [Name in Rows[number]['name']]: number };

function offsetsOf<const Rows extends readonly (Row & { offsetBytes: number })[]>(
  rows: Rows,
): Named<Rows> {
  return Object.fromEntries(rows.map((row) => [row.name, row.offsetBytes])) as Named<Rows>;
}

/** Indexes into a Uint32Array instead of bytes. */
function wordsOf<const Rows extends readonly (Row & { offsetBytes: number })[]>(
  rows: Rows,
): Named<Rows> {
  return Object.fromEntries(rows.map((row) => [row.name, row.offsetBytes / 4])) as Named<Rows>;
}

function codesOf<const Rows extends readonly CodeRow[]>(rows: Rows): Named<Rows> {
  return Object.fromEntries(rows.map((row) => [row.name, row.code])) as Named<Rows>;
}

/** What identifies the function, and the numbers that no register tells. */
export const mqdma = {
  /** Assigned to nobody; emulators use it. */
  vendorId: 0x1234,
  deviceId: 0x6d71,
  revisionId: 1,
  /** Base class 0x12: processing accelerator. */
  classCode: 0x120000,
  /** Value of ID: "mqdm" in memory order. */
  id: 0x6d64716d,
  /** Value of VERSION: major in the upper half, minor in the lower. */
  version: 0x0001_0000,
  controlRegion: 0,
  queueRegion: 2,
  msixRegion: 4,
  queueCountMax: 1024,
  queueCountDefault: 16,
  pasidBits: 20,
  ringEntriesMin: 2,
  ringEntriesMax: 4096,
  /** Both rings start at a multiple of this. */
  ringAlignmentBytes: 64,
  descriptorBytes: 64,
  completionBytes: 16,
  /** Largest length of one descriptor. */
  transferBytesMax: 2 ** 30,
  /** What one queue gets before the next has its turn. */
  turnDescriptors: 32,
  turnBytes: 65_536,
  /** Largest piece of work between two looks at invalidations. */
  chunkBytes: 4096,
  /** One past the highest address that the function can send. */
  addressEnd: 2 ** 48,
  queueRegistersOffsetBytes: 0x1000,
  queueRegistersStrideBytes: 0x80,
  faultPendingWords: 32,
} as const;

/** BAR0, the first page. */
export const controlRows = [
  { name: 'ID', offsetBytes: 0x00, access: 'ro', text: '0x6d64716d, "mqdm" in memory order' },
  { name: 'VERSION', offsetBytes: 0x04, access: 'ro', text: 'major << 16 | minor' },
  { name: 'QUEUE_COUNT', offsetBytes: 0x08, access: 'ro', text: 'queues, 1 to 1024' },
  {
    name: 'PAGE_STRIDE',
    offsetBytes: 0x0c,
    access: 'ro',
    text: 'bytes from one page of BAR2 to the next',
  },
  { name: 'CAPABILITIES', offsetBytes: 0x10, access: 'ro', text: 'see capability bits' },
  { name: 'PASID_BITS', offsetBytes: 0x14, access: 'ro', text: 'width of a PASID; 0: none' },
  { name: 'RING_ENTRIES_MAX', offsetBytes: 0x18, access: 'ro', text: 'largest ring' },
  {
    name: 'TRANSFER_BYTES_MAX',
    offsetBytes: 0x1c,
    access: 'ro',
    text: 'largest descriptor length',
  },
  {
    name: 'QUEUE_REGISTERS',
    offsetBytes: 0x20,
    access: 'ro',
    text: 'offset in BAR0 of the registers of queue 0',
  },
  {
    name: 'QUEUE_REGISTERS_STRIDE',
    offsetBytes: 0x24,
    access: 'ro',
    text: 'bytes from the registers of one queue to those of the next',
  },
  {
    name: 'ERROR_VECTOR',
    offsetBytes: 0x28,
    access: 'ro',
    text: 'MSI-X vector that fires after FAULT_PENDING was set; queue n has vector n',
  },
  {
    name: 'INJECT_DEAD',
    offsetBytes: 0x40,
    access: 'rw',
    text: 'injection: 1: dead until the function is reset; 2: dead for good',
  },
  {
    name: 'FAULT_PENDING',
    offsetBytes: 0x100,
    access: 'w1c',
    text: '32 words; bit q % 32 of word q / 32: queue q has a fault that nobody has taken yet',
  },
] as const satisfies readonly RegisterRow[];
export const control = offsetsOf(controlRows);

export const capabilityRows = [
  { name: 'PASID', code: 1 << 0, text: 'a queue can present a PASID' },
  { name: 'BOUNDS', code: 1 << 1, text: 'a queue can be bound to a range of addresses' },
  { name: 'INJECTION', code: 1 << 2, text: 'the injection registers work; else they read 0' },
] as const satisfies readonly CodeRow[];
export const capability = codesOf(capabilityRows);

/** BAR0, per queue. */
export const queueControlRows = [
  {
    name: 'ENABLE',
    offsetBytes: 0x00,
    access: 'rw',
    text: '1: the queue may run. 0: the rings are disconnected and the transfer under way is given up',
  },
  {
    name: 'ISOLATION',
    offsetBytes: 0x04,
    access: 'rw',
    text: 'isolation bits; writable only while disabled and idle',
  },
  {
    name: 'PASID',
    offsetBytes: 0x08,
    access: 'rw',
    text: 'presented with every DMA; writable only while disabled and idle',
  },
  {
    name: 'DRAIN',
    offsetBytes: 0x0c,
    access: 'rw',
    text: '1: no further descriptor is fetched; the transfer under way finishes',
  },
  {
    name: 'DMA_BASE_LOW',
    offsetBytes: 0x10,
    access: 'rw',
    text: 'first byte of the bounds; writable only while disabled and idle',
  },
  { name: 'DMA_BASE_HIGH', offsetBytes: 0x14, access: 'rw', text: 'bits 63:32 of it' },
  {
    name: 'DMA_LENGTH_LOW',
    offsetBytes: 0x18,
    access: 'rw',
    text: 'bytes of the bounds; writable only while disabled and idle',
  },
  { name: 'DMA_LENGTH_HIGH', offsetBytes: 0x1c, access: 'rw', text: 'bits 63:32 of it' },
  { name: 'STATUS', offsetBytes: 0x20, access: 'ro', text: 'queue status bits' },
  { name: 'KICK', offsetBytes: 0x24, access: 'wo', text: 'any write: look at the doorbell' },
  {
    name: 'RESET',
    offsetBytes: 0x28,
    access: 'wo',
    text: '1: as ENABLE 0, and the fault and the queue and status pages are cleared; isolation stays',
  },
  { name: 'FAULT_COUNT', offsetBytes: 0x30, access: 'ro', text: 'faults since the function reset' },
  { name: 'FAULT_ACCESS', offsetBytes: 0x34, access: 'ro', text: 'of the last fault: access code' },
  { name: 'FAULT_REASON', offsetBytes: 0x38, access: 'ro', text: 'of the last fault: reason code' },
  { name: 'FAULT_IOVA_LOW', offsetBytes: 0x40, access: 'ro', text: 'of the last fault: address' },
  { name: 'FAULT_IOVA_HIGH', offsetBytes: 0x44, access: 'ro', text: 'bits 63:32 of it' },
  {
    name: 'COMPLETED',
    offsetBytes: 0x48,
    access: 'ro',
    text: 'descriptors completed, modulo 2^32',
  },
  {
    name: 'INJECT_NEVER_IDLE',
    offsetBytes: 0x60,
    access: 'rw',
    text: 'injection: 1: IDLE reads 0 whatever the queue does',
  },
  {
    name: 'INJECT_DMA_DELAY_MS',
    offsetBytes: 0x64,
    access: 'rw',
    text: 'injection: every descriptor waits this long before its DMA; neither ENABLE 0 nor RESET stops it',
  },
  {
    name: 'INJECT_LOST_INTERRUPTS',
    offsetBytes: 0x68,
    access: 'rw',
    text: 'injection: how many interrupts are lost from now; 0xffffffff: all',
  },
] as const satisfies readonly RegisterRow[];
export const queueControl = offsetsOf(queueControlRows);

export const isolationRows = [
  { name: 'PASID', code: 1 << 0, text: 'DMA carries the PASID of the queue' },
  { name: 'BOUNDS', code: 1 << 1, text: 'DMA outside [base, base + length) faults' },
] as const satisfies readonly CodeRow[];
export const isolationBit = codesOf(isolationRows);

export const queueStatusRows = [
  { name: 'IDLE', code: 1 << 0, text: 'no DMA is under way, and none is still to come' },
  { name: 'ENABLED', code: 1 << 1, text: 'ENABLE is 1' },
  { name: 'CONNECTED', code: 1 << 2, text: 'the rings are connected' },
  { name: 'FAULTED', code: 1 << 3, text: 'stopped by a fault' },
] as const satisfies readonly CodeRow[];
export const queueStatus = codesOf(queueStatusRows);

/** BAR2, page 2n: read-write to the holder of queue n. All zero when it is connected. */
export const queuePageRows = [
  {
    name: 'RING_CONTROL',
    offsetBytes: 0x00,
    access: 'rw',
    text: '0 to 1: the ring registers are copied and checked; 1 to 0: the queue drains and disconnects',
  },
  {
    name: 'RING_ENTRIES',
    offsetBytes: 0x04,
    access: 'rw',
    text: 'of both rings: a power of two, 2 to 4096',
  },
  { name: 'DESCRIPTORS_LOW', offsetBytes: 0x08, access: 'rw', text: 'IOVA of the descriptor ring' },
  { name: 'DESCRIPTORS_HIGH', offsetBytes: 0x0c, access: 'rw', text: 'bits 63:32 of it' },
  { name: 'COMPLETIONS_LOW', offsetBytes: 0x10, access: 'rw', text: 'IOVA of the completion ring' },
  { name: 'COMPLETIONS_HIGH', offsetBytes: 0x14, access: 'rw', text: 'bits 63:32 of it' },
  {
    name: 'TAIL',
    offsetBytes: 0x40,
    access: 'rw',
    text: 'doorbell: descriptors submitted since connect, modulo 2^32',
  },
  {
    name: 'COMPLETION_HEAD',
    offsetBytes: 0x44,
    access: 'rw',
    text: 'completions consumed since connect, modulo 2^32',
  },
  {
    name: 'ARM',
    offsetBytes: 0x48,
    access: 'rw',
    text: 'interrupt enable: one interrupt for every new value that is not 0',
  },
  {
    name: 'KICK',
    offsetBytes: 0x4c,
    access: 'rw',
    text: 'written by message: wakes a sleeping device; the value means nothing',
  },
] as const satisfies readonly RegisterRow[];
export const queuePage = offsetsOf(queuePageRows);
export const queuePageWord = wordsOf(queuePageRows);

/** BAR2, page 2n + 1: read-only to the holder of queue n. */
export const statusPageRows = [
  { name: 'STATE', offsetBytes: 0x00, access: 'ro', text: 'ring state' },
  {
    name: 'ERROR',
    offsetBytes: 0x04,
    access: 'ro',
    text: 'ring error, in states rejected and error',
  },
  { name: 'FAULT_COUNT', offsetBytes: 0x10, access: 'ro', text: 'faults since connect' },
  { name: 'FAULT_ACCESS', offsetBytes: 0x14, access: 'ro', text: 'of the last fault: access code' },
  { name: 'FAULT_REASON', offsetBytes: 0x18, access: 'ro', text: 'of the last fault: reason code' },
  { name: 'FAULT_IOVA_LOW', offsetBytes: 0x20, access: 'ro', text: 'of the last fault: address' },
  { name: 'FAULT_IOVA_HIGH', offsetBytes: 0x24, access: 'ro', text: 'bits 63:32 of it' },
  {
    name: 'NEED_WAKEUP',
    offsetBytes: 0x40,
    access: 'ro',
    text: 'not 0: the device sleeps; write KICK by message after storing TAIL',
  },
] as const satisfies readonly RegisterRow[];
export const statusPage = offsetsOf(statusPageRows);
export const statusPageWord = wordsOf(statusPageRows);

export const ringStateRows = [
  { name: 'DISCONNECTED', code: 0, text: 'no rings' },
  { name: 'CONNECTED', code: 1, text: 'running' },
  { name: 'REJECTED', code: 2, text: 'the ring registers were refused; see ERROR' },
  { name: 'FAULTED', code: 3, text: 'stopped by a DMA fault; see the fault record' },
  { name: 'ERROR', code: 4, text: 'stopped by a broken doorbell; see ERROR' },
] as const satisfies readonly CodeRow[];
export const ringState = codesOf(ringStateRows);

export const ringErrorRows = [
  { name: 'NONE', code: 0, text: '' },
  { name: 'ENTRIES', code: 1, text: 'RING_ENTRIES is not a power of two in 2 to 4096' },
  { name: 'ALIGNMENT', code: 2, text: 'a ring does not start at a multiple of 64' },
  { name: 'TAIL', code: 3, text: 'TAIL is more than one ring ahead of what was fetched' },
  { name: 'HEAD', code: 4, text: 'COMPLETION_HEAD is ahead of what was completed' },
  { name: 'ADDRESS', code: 5, text: 'a ring does not end below 2^48' },
] as const satisfies readonly CodeRow[];
export const ringError = codesOf(ringErrorRows);

/** A descriptor. Bytes not named must be 0. */
export const descriptorRows = [
  { name: 'OPCODE', offsetBytes: 0x00, lengthBytes: 4, text: 'bits 7:0 opcode, 31:8 flags' },
  { name: 'PASID', offsetBytes: 0x04, lengthBytes: 4, text: 'with flag PASID_TAG, else 0' },
  { name: 'TAG', offsetBytes: 0x08, lengthBytes: 4, text: 'returned in the completion' },
  { name: 'LENGTH', offsetBytes: 0x0c, lengthBytes: 4, text: 'bytes, 0 to 2^30' },
  { name: 'SOURCE', offsetBytes: 0x10, lengthBytes: 8, text: 'copy, compare, crc32c: IOVA' },
  {
    name: 'DESTINATION',
    offsetBytes: 0x18,
    lengthBytes: 8,
    text: 'copy, fill: IOVA; compare: other',
  },
  {
    name: 'PATTERN',
    offsetBytes: 0x20,
    lengthBytes: 8,
    text: 'fill: bytes repeated from the start',
  },
  { name: 'SEED', offsetBytes: 0x28, lengthBytes: 4, text: 'crc32c: CRC of what precedes, else 0' },
] as const satisfies readonly FieldRow[];
export const descriptorWord = wordsOf(descriptorRows);

export const opcodeRows = [
  { name: 'NOP', code: 1, text: 'completes' },
  { name: 'COPY', code: 2, text: 'source to destination; overlapping ranges: bytes undefined' },
  { name: 'FILL', code: 3, text: 'pattern to destination' },
  { name: 'COMPARE', code: 4, text: 'result: offset of the first difference' },
  { name: 'CRC32C', code: 5, text: 'result: CRC-32C (Castagnoli) of source' },
] as const satisfies readonly CodeRow[];
export const opcode = codesOf(opcodeRows);

export const descriptorFlagRows = [
  { name: 'PASID_TAG', code: 1 << 8, text: 'fault unless PASID is that of the queue' },
] as const satisfies readonly CodeRow[];
export const descriptorFlag = codesOf(descriptorFlagRows);

/** A completion. Written in order of descriptors; the last word last. */
export const completionRows = [
  { name: 'TAG', offsetBytes: 0x0, lengthBytes: 4, text: 'of the descriptor' },
  { name: 'RESULT', offsetBytes: 0x4, lengthBytes: 4, text: 'compare, crc32c; else 0' },
  { name: 'FETCHED', offsetBytes: 0x8, lengthBytes: 4, text: 'descriptors fetched, modulo 2^32' },
  {
    name: 'STATUS',
    offsetBytes: 0xc,
    lengthBytes: 4,
    text: 'bit 0: phase, 1 in the first pass of the ring and inverted with each; bits 15:8: status',
  },
] as const satisfies readonly FieldRow[];
export const completionWord = wordsOf(completionRows);

export const completionStatusRows = [
  { name: 'OK', code: 0, text: 'done' },
  { name: 'DIFFERENT', code: 1, text: 'compare found a difference' },
  { name: 'INVALID', code: 2, text: 'unknown opcode or flag, length over the limit, byte not 0' },
  { name: 'FAULT', code: 3, text: 'DMA refused; the queue has stopped' },
] as const satisfies readonly CodeRow[];
export const completionStatus = codesOf(completionStatusRows);

export const accessRows = [
  { name: 'READ', code: 1, text: 'the device wanted to read' },
  { name: 'WRITE', code: 2, text: 'the device wanted to write' },
] as const satisfies readonly CodeRow[];
export const accessCode = codesOf(accessRows);

/** Reason codes are one more than the index in `faultReasons`; 0: no fault yet. */
export const reasonRows: readonly CodeRow[] = faultReasons.map((reason, index) => ({
  name: reason,
  code: index + 1,
  text: '',
}));

/** Offset in BAR0 of a queue's registers. */
export function queueControlOffset(queue: number): number {
  return mqdma.queueRegistersOffsetBytes + queue * mqdma.queueRegistersStrideBytes;
}

/** Offset in BAR2 of a queue's read-write page; its read-only page is one stride further. */
export function queuePageOffset(queue: number, pageStrideBytes: number): number {
  return 2 * queue * pageStrideBytes;
}
