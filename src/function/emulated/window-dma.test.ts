// A window as what another queue's DMA goes to, on the real worker: plain memory to both, until the
// window is detached, and nothing to the DMA from then on.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { toIova } from '../../base/units.js';
import { completionStatus, opcode, queuePageWord } from '../../device/mqdma/datasheet.js';
import { type DmaMapping, faultReasons } from '../../iommu/types.js';
import { createMqdma, openPage, QueueRig, rigIova } from '../testing/mqdma-rig.js';
import type { PciFunction } from '../types.js';

/** Where the queue maps windows, one after the other. */
const windowsAt = 0x4000_0000;
const pageBytes = 4096;
/** Upper half of a queue's page: registers that mqdma does not have. */
const unusedWord = 512;
const unusedBytes = 2048;
const pattern = 0x5a5a_5a5a;
const marker = 0x1111_1111;

let fn: PciFunction;
let rig: QueueRig;

beforeAll(async () => {
  fn = await createMqdma();
  rig = await QueueRig.open(fn, 1, 3);
});

afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await fn[Symbol.asyncDispose]();
});

async function openTarget() {
  const { window, u32 } = await openPage(fn, 2, 'read-write');
  await window.connect();
  return { window, u32 };
}

type Target = Awaited<ReturnType<typeof openTarget>>;

function map({ window }: Target, iova = windowsAt): Promise<DmaMapping> {
  const memory = window.dmaMemory;
  if (memory === undefined) expect.unreachable('a connected window');
  return rig.space.map(memory, toIova(iova), pageBytes, 'read-write', rig.account);
}

function fill(iova: number, word = pattern): void {
  const DESTINATION = iova + unusedWord * 4;
  rig.submit({
    OPCODE: opcode.FILL,
    LENGTH: unusedBytes,
    DESTINATION,
    PATTERN: word,
    PATTERN_HIGH: word,
  });
}

const revokedCode = faultReasons.indexOf('revoked') + 1;

/** Connects the rings, tries once, and expects a fault that says why. */
async function expectRevoked(iova: number): Promise<void> {
  await rig.connect();
  fill(iova);
  expect(await rig.complete()).toBe(completionStatus.FAULT);
  expect(rig.faultReason).toBe(revokedCode);
}

it('is written and read by DMA as by a store', async () => {
  const target = await openTarget();
  const mapping = await map(target);
  rig.words[unusedWord] = 0x1234_5678;
  const LENGTH = 4;
  const word = windowsAt + unusedWord * 4;
  rig.submit({
    OPCODE: opcode.COPY,
    LENGTH,
    SOURCE: rigIova + unusedWord * 4,
    DESTINATION: word,
  });
  expect(await rig.complete()).toBe(completionStatus.OK);
  expect(target.u32[unusedWord]).toBe(0x1234_5678);
  target.u32[unusedWord] = 0x9abc_def0;
  rig.submit({
    OPCODE: opcode.COPY,
    LENGTH,
    SOURCE: word,
    DESTINATION: rigIova + unusedWord * 4 + 4,
  });
  expect(await rig.complete()).toBe(completionStatus.OK);
  expect(rig.words[unusedWord + 1]).toBe(0x9abc_def0);
  await rig.space.unmap(mapping);
  await target.window[Symbol.asyncDispose]();
});

it('is no target before it is connected, nor after it is detached', async () => {
  const { window } = await openPage(fn, 2, 'read-write');
  expect(window.dmaMemory).toBeUndefined();
  await window.connect();
  const memory = window.dmaMemory!;
  await window.detach();
  expect(window.dmaMemory).toBeUndefined();
  const late = rig.space.map(memory, toIova(windowsAt), pageBytes, 'read', rig.account);
  await expect(late).rejects.toMatchObject({ code: 'WINDOW_REVOKED', errno: 'ENODEV' });
  await window[Symbol.asyncDispose]();
});

it('gets no byte once detach returned, while a queue writes to it in a loop', async () => {
  const mapped: DmaMapping[] = [];
  let written = 0;
  for (let round = 0; round < 20; round += 1) {
    const target = await openTarget();
    const iova = windowsAt + round * pageBytes;
    mapped.push(await map(target, iova));
    await rig.connect();
    for (let count = 0; count < 60; count += 1) fill(iova);
    // Some rounds are cut before the first, some while it works, some after the last.
    if (round % 3 > 0) expect(await rig.complete()).toBe(completionStatus.OK);
    if (round % 3 > 1) {
      for (let count = 0; count < 59; count += 1) await rig.complete();
    }
    await target.window.detach();
    if (target.u32[unusedWord] === pattern) written += 1;
    target.u32.fill(marker);
    await expectRevoked(iova);
    expect(target.u32.every((word) => word === marker)).toBe(true);
    await target.window[Symbol.asyncDispose]();
  }
  // The control: before the detach the same descriptors wrote what they could.
  expect(written).toBeGreaterThan(5);
  // Its place in the arena serves the next window, which the old mappings do not lead to.
  const next = await openTarget();
  next.u32.fill(marker, unusedWord);
  await expectRevoked(windowsAt);
  await expectRevoked(windowsAt + 19 * pageBytes);
  expect(next.u32.subarray(unusedWord).every((word) => word === marker)).toBe(true);
  // Dead, and still in the way.
  await expect(map(next)).rejects.toMatchObject({ code: 'IOVA_OVERLAP' });
  await rig.space.unmap(mapped[0]!);
  await rig.connect();
  await map(next);
  fill(windowsAt);
  expect(await rig.complete()).toBe(completionStatus.OK);
  expect(next.u32[unusedWord]).toBe(pattern);
  await next.window[Symbol.asyncDispose]();
});

it('rings a doorbell by DMA', async () => {
  const other = await QueueRig.open(fn, 3, 4);
  const memory = other.page.dmaMemory!;
  const at = toIova(0x5000_0000);
  const mapping = await rig.space.map(memory, at, pageBytes, 'write', rig.account);
  await rig.connect();
  other.prepare({ OPCODE: opcode.NOP, TAG: 7 });
  rig.words[unusedWord] = 1;
  rig.submit({
    OPCODE: opcode.COPY,
    LENGTH: 4,
    SOURCE: rigIova + unusedWord * 4,
    DESTINATION: at + queuePageWord.TAIL * 4,
  });
  expect(await rig.complete()).toBe(completionStatus.OK);
  expect(await other.complete()).toBe(completionStatus.OK);
  await rig.space.unmap(mapping);
  await other[Symbol.asyncDispose]();
});
