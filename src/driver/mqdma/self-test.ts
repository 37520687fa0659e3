// Before `device-bounds` is promised: a descriptor aimed one byte past its bounds, at memory that
// is mapped, must fault and leave that memory alone; the same inside the bounds must work.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { roundUp, toIova } from '../../base/units.js';
import {
  completionStatus,
  completionWord,
  descriptorWord,
  isolationBit,
  mqdma,
  opcode,
  queuePage,
  queuePageOffset,
} from '../../device/mqdma/datasheet.js';
import type { PciFunction, Registers } from '../../function/types.js';
import type { DriverHost, ScratchMemory } from '../types.js';
import { waitIdle } from './idle.js';
import type { QueueRegisters } from './queue-registers.js';

/** Rings and data on the first page, inside the bounds; the second page is out of bounds. */
const pageBytes = 65_536;
const completionsAt = 1024;
const entries = 4;
const lengthBytes = 256;
const deadlineMs = 2000;
const pattern = 0x5a5a5a5a;

interface Bench {
  readonly host: DriverHost;
  readonly registers: QueueRegisters;
  readonly page: Registers;
  readonly pageOffset: number;
  readonly scratch: ScratchMemory;
  readonly base: number;
}

/** The queue under test. */
export interface SelfTestQueue {
  readonly registers: QueueRegisters;
  /** Has the device look at its doorbell. */
  readonly kick: () => void;
}

function fail(detail: string, cause?: unknown): never {
  throw new LessorError('DRIVER_FAILED', `bounds self-test: ${detail}`, { cause });
}

/**
 * Runs the test on queue 0, which nobody holds; leaves the queue as it was found.
 *
 * @throws LessorError `DRIVER_FAILED` when the bounds do not hold, or nothing could be proved.
 */
export async function testBounds(
  fn: PciFunction,
  host: DriverHost,
  { registers, kick }: SelfTestQueue,
  pageStrideBytes: number,
): Promise<void> {
  const scratch = host.scratchMemory(2 * pageBytes);
  try {
    const space = await fn.dma.open({ pasid: undefined });
    try {
      const base = toIova(roundUp(Math.max(fn.info.aperture.start, 1), pageBytes));
      const account = {
        placedBytesMax: limits.placedBytesPerLeaseMax,
        tablePagesMax: limits.tablePagesPerLeaseMax,
        placedBytes: 0,
        tablePages: 0,
      };
      await space.map(scratch.memory, base, scratch.lengthBytes, 'read-write', account);
      const page = fn.registers(mqdma.queueRegion);
      const pageOffset = queuePageOffset(0, pageStrideBytes);
      await run({ host, registers, page, pageOffset, scratch, base }, kick);
    } finally {
      await space[Symbol.asyncDispose]();
    }
  } finally {
    scratch[Symbol.dispose]();
  }
}

async function run(bench: Bench, kick: () => void): Promise<void> {
  const { registers, scratch, base } = bench;
  await registers.write('RESET', 1);
  await registers.writeWide('DMA_BASE', base);
  await registers.writeWide('DMA_LENGTH', pageBytes);
  await registers.write('ISOLATION', isolationBit.BOUNDS);
  await registers.write('ENABLE', 1);
  try {
    await connect(bench);
    const inside = await fill(bench, 1, base + pageBytes - lengthBytes, kick);
    const lastInside = scratch.u32[pageBytes / 4 - 1];
    if (inside !== completionStatus.OK || lastInside !== pattern) {
      fail(`a fill inside the bounds ended with status ${inside}`);
    }
    // Its last byte is the first one out of bounds.
    const outside = await fill(bench, 2, base + pageBytes - lengthBytes + 1, kick);
    const record = await registers.fault();
    if (scratch.u32[pageBytes / 4] !== 0) fail('a byte outside the bounds was written');
    if (outside !== completionStatus.FAULT || record?.reason !== 'out of bounds') {
      fail(`a fill outside the bounds ended with status ${outside}, ${record?.reason}`);
    }
  } finally {
    await leave(bench);
  }
}

async function connect(bench: Bench): Promise<void> {
  const { page, pageOffset, base } = bench;
  const write = (name: keyof typeof queuePage, value: number): Promise<void> =>
    page.write32(pageOffset + queuePage[name], value);
  await write('RING_ENTRIES', entries);
  await write('DESCRIPTORS_LOW', base % 2 ** 32);
  await write('DESCRIPTORS_HIGH', Math.floor(base / 2 ** 32));
  await write('COMPLETIONS_LOW', (base + completionsAt) % 2 ** 32);
  await write('COMPLETIONS_HIGH', Math.floor((base + completionsAt) / 2 ** 32));
  await write('RING_CONTROL', 1);
}

/** Submits descriptor number `ticket` (from 1) and waits. @returns Its completion status. */
async function fill(
  bench: Bench,
  ticket: number,
  destination: number,
  kick: () => void,
): Promise<number> {
  const { scratch, page, pageOffset, host } = bench;
  const at = ((ticket - 1) * mqdma.descriptorBytes) / 4;
  const words = scratch.u32;
  words[at + descriptorWord.OPCODE] = opcode.FILL;
  words[at + descriptorWord.LENGTH] = lengthBytes;
  words[at + descriptorWord.DESTINATION] = destination % 2 ** 32;
  words[at + descriptorWord.DESTINATION + 1] = Math.floor(destination / 2 ** 32);
  words[at + descriptorWord.PATTERN] = pattern;
  words[at + descriptorWord.PATTERN + 1] = pattern;
  await page.write32(pageOffset + queuePage.TAIL, ticket);
  kick();
  const status = (completionsAt + (ticket - 1) * mqdma.completionBytes) / 4 + completionWord.STATUS;
  const untilMs = host.clock.nowMs() + deadlineMs;
  while ((Atomics.load(words, status) & 1) === 0) {
    if (host.clock.nowMs() > untilMs) fail(`no completion within ${deadlineMs} ms`);
    await new Promise<void>((resolve) => {
      host.clock.after(1, resolve);
    });
  }
  return words[status]! >>> 8;
}

/** As it was found, and idle: only then may the scratch memory go. */
async function leave(bench: Bench): Promise<void> {
  const { registers, host } = bench;
  await registers.write('RESET', 1);
  const deadline = new AbortController();
  const timer = host.clock.after(deadlineMs, () => deadline.abort());
  const result = await waitIdle(registers, host.clock, deadline.signal);
  timer[Symbol.dispose]();
  if (result !== 'idle') fail('the queue does not come to rest');
  await registers.writeWide('DMA_BASE', 0);
  await registers.writeWide('DMA_LENGTH', 0);
}
