// The real device on the real function: rings in client memory, doorbells in a window, faults,
// interrupts and sleep, driven by hand as a driver and a client would.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MiB, toIova } from '../../base/units.js';
import {
  completionStatus,
  completionWord,
  descriptorWord,
  isolationBit,
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePageWord,
  statusPageWord,
} from '../../device/mqdma/datasheet.js';
import type { AddressSpace } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import { eventually, pause } from '../testing/counter-fixture.js';
import { realOs } from '../testing/emulated-fixture.js';
import { createMqdma, openPage } from '../testing/mqdma-rig.js';
import type { FunctionEvent, PciFunction, Window } from '../types.js';

const { memory, clock, events } = realOs;
const pasid = 3;
const queue = 1;
const entries = 64;
const iova = 0x10_0000;
const completionsAt = 0x1_0000;
const account = { placedBytesMax: 64 * MiB, tablePagesMax: 64, placedBytes: 0, tablePages: 0 };

describe('mqdma on the emulated function', () => {
  let fn: PciFunction;
  let space: AddressSpace;
  let clientFd: Fd;
  let words: Uint32Array;
  let page: Uint32Array;
  let status: Uint32Array;
  const windows: Window[] = [];
  let submitted = 0;
  let consumed = 0;

  const open = async (access: 'read' | 'read-write'): Promise<Uint32Array> => {
    const { window, u32 } = await openPage(fn, queue, access);
    windows.push(window);
    return u32;
  };

  beforeAll(async () => {
    fn = await createMqdma();
    clientFd = memory.create('lessor-test-client', 4 * MiB);
    const spec = { offsetBytes: 0, lengthBytes: 4 * MiB, writable: true } as const;
    words = new Uint32Array(memory.map(clientFd, spec).buffer);
    space = await fn.dma.open({ pasid });
    const client = { fd: clientFd, offsetBytes: 0 };
    await space.map(client, toIova(iova), 4 * MiB, 'read-write', account);
    const registers = fn.registers(mqdma.controlRegion);
    const at = queueControlOffset(queue);
    await registers.write32(at + queueControl.PASID, pasid);
    await registers.write32(at + queueControl.ISOLATION, isolationBit.PASID);
    await registers.write32(at + queueControl.ENABLE, 1);
    page = await open('read-write');
    status = await open('read');
    for (const window of windows) await window.connect();
    page[queuePageWord.RING_ENTRIES] = entries;
    page[queuePageWord.DESCRIPTORS_LOW] = iova;
    page[queuePageWord.COMPLETIONS_LOW] = iova + completionsAt;
    Atomics.store(page, queuePageWord.RING_CONTROL, 1);
    fn.kick();
    await eventually(clock, 'the rings are connected', () => status[statusPageWord.STATE] === 1);
  });

  afterAll(async () => {
    for (const window of windows) await window[Symbol.asyncDispose]();
    await space[Symbol.asyncDispose]();
    await fn[Symbol.asyncDispose]();
    clientFd.close();
  });

  const submit = (fields: Partial<Record<keyof typeof descriptorWord, number>>): void => {
    const at = (submitted % entries) * 16;
    words.fill(0, at, at + 16);
    for (const [name, value] of Object.entries(fields)) {
      words[at + descriptorWord[name as keyof typeof descriptorWord]] = value;
    }
    submitted += 1;
    Atomics.store(page, queuePageWord.TAIL, submitted);
    if (Atomics.load(status, statusPageWord.NEED_WAKEUP) !== 0) fn.kick();
  };

  /** Spins as a client does. @returns Status and result of the next completion. */
  const complete = (): { status: number; result: number } => {
    const at = completionsAt / 4 + (consumed % entries) * 4;
    const phase = (Math.floor(consumed / entries) & 1) ^ 1;
    const endMs = clock.nowMs() + 5000;
    while ((Atomics.load(words, at + completionWord.STATUS) & 1) !== phase) {
      if (clock.nowMs() > endMs) expect.unreachable('no completion');
    }
    consumed += 1;
    page[queuePageWord.COMPLETION_HEAD] = consumed;
    return {
      status: words[at + completionWord.STATUS]! >>> 8,
      result: words[at + completionWord.RESULT]!,
    };
  };

  it('completes thousands of descriptors without the main thread of the broker', () => {
    for (let round = 0; round < 2000; round += 1) {
      submit({ OPCODE: opcode.NOP, TAG: round });
      expect(complete().status).toBe(completionStatus.OK);
    }
  });

  it('copies across pages', () => {
    const lengthBytes = 300_001;
    const bytes = new Uint8Array(words.buffer);
    for (let index = 0; index < lengthBytes; index += 1) bytes[MiB + index] = index * 7;
    submit({
      OPCODE: opcode.COPY,
      LENGTH: lengthBytes,
      SOURCE: iova + MiB,
      DESTINATION: iova + 2 * MiB + 5,
    });
    expect(complete().status).toBe(completionStatus.OK);
    const from = Buffer.from(words.buffer, MiB, lengthBytes);
    const to = Buffer.from(words.buffer, 2 * MiB + 5, lengthBytes);
    expect(Buffer.compare(from, to)).toBe(0);
  });

  it('wakes up for a doorbell after it slept', async () => {
    await eventually(clock, 'the device sleeps', () => status[statusPageWord.NEED_WAKEUP] === 1);
    await pause(clock, 5);
    submit({ OPCODE: opcode.NOP });
    expect(complete().status).toBe(completionStatus.OK);
  });

  it('fires the interrupt of the queue once per arming', async () => {
    const eventFd = events.createEventFd();
    using seen = eventFd.duplicate();
    await fn.setInterrupt(queue, eventFd);
    Atomics.store(page, queuePageWord.ARM, 1);
    submit({ OPCODE: opcode.NOP });
    expect(complete().status).toBe(completionStatus.OK);
    await eventually(clock, 'the interrupt', () => events.drain(seen) === 1n);
    submit({ OPCODE: opcode.NOP });
    expect(complete().status).toBe(completionStatus.OK);
    await pause(clock, 5);
    expect(events.drain(seen)).toBe(0n);
    await fn.setInterrupt(queue, undefined);
  });

  it('unmaps while it copies, and then faults', async () => {
    const faults: FunctionEvent[] = [];
    using _listener = fn.onEvent((event) => faults.push(event));
    const extra = toIova(0x4000_0000);
    const extraFd = { fd: clientFd, offsetBytes: 0 };
    const mapping = await space.map(extraFd, extra, 4 * MiB, 'read', account);
    for (let round = 0; round < 8; round += 1) {
      submit({
        OPCODE: opcode.COPY,
        LENGTH: MiB,
        SOURCE: extra + MiB,
        DESTINATION: iova + 3 * MiB,
      });
    }
    await space.unmap(mapping);
    let last = completionStatus.OK;
    while (last === completionStatus.OK) last = complete().status;
    expect(last).toBe(completionStatus.FAULT);
    await eventually(clock, 'the fault', () => faults.length > 0);
    expect(faults[0]).toMatchObject({
      type: 'fault',
      fault: { pasid, access: 'read', reason: 'not mapped' },
    });
  });
});
