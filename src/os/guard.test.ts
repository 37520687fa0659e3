import { describe, expect, it } from 'vitest';
import { createMemoryOs } from './memory.js';
import type { MapSpec } from './memory-types.js';
import { loadNative } from './native.js';
import { TestProcess } from './testing/memory-process.js';
import { spinnerWords } from './testing/memory-spinner.js';

const native = loadNative();
const os = createMemoryOs(native);
const allOnes = 0xffff_ffff;
const chunkBytes = 2 ** 21;

function totalFaults(): number {
  return new Int32Array(native.guardFaults())[0]!;
}

async function endingOf(scenario: string) {
  using victim = new TestProcess('memory-victim', [scenario]);
  return await victim.ended;
}

describe('a process whose memory is truncated', () => {
  it.each([
    ['is killed without the guard', 'unguarded', 'SIGBUS'],
    ['is killed at an address that the guard does not know', 'stray', 'SIGBUS'],
    ['is killed where the guard was taken away', 'cleared', 'SIGBUS'],
    ['is killed by a SIGBUS that was sent', 'sent', 'SIGBUS'],
    ['is killed by a store to a read-only window', 'readOnlyStore', 'SIGSEGV'],
    ['is killed by a touch of what was never placed', 'unplaced', 'SIGSEGV'],
  ])('%s', async (_name, scenario, signal) => {
    expect(await endingOf(scenario)).toEqual({ status: null, signal, output: '' });
  });

  it.each([
    ['passes a sent SIGBUS to an earlier listener', 'chained'],
    ['gets the guard back at the next map after a listener replaced it', 'replaced'],
    ['is told when the table is full', 'tableFull'],
    ['keeps the guard when the worker that loaded it is gone', 'workerFirst'],
    ['survives faults while slots come and go', 'churn'],
    ['reads zeros after zero, whatever a handler was doing', 'zeroRace'],
    ['does not collect garbage because of mappings', 'accounting'],
  ])('%s', async (_name, scenario) => {
    expect(await endingOf(scenario)).toEqual({ status: 0, signal: null, output: '' });
  });

  it('survives in two spinning threads while another process truncates', async () => {
    const windows = Array.from({ length: 5 }, () => os.create('lessor-test', 65_536));
    using victim = new TestProcess('memory-victim', ['threads'], windows);
    for (const fd of windows) {
      const spec = { offsetBytes: 0, lengthBytes: 65_536, writable: true, guard: 'ones' } as const;
      using mapping = os.map(fd, spec);
      const words = new Uint32Array(mapping.buffer);
      const isSpinning = () => Object.values(spinnerWords).every((word) => words[word] !== 0);
      const untilMs = performance.now() + 10_000;
      while (!isSpinning() && performance.now() < untilMs) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      expect(isSpinning()).toBe(true);
      os.truncate(fd, 0);
    }
    expect(await victim.ended).toEqual({ status: 0, signal: null, output: '' });
    for (const fd of windows) fd.close();
  });
});

describe('a guarded window', () => {
  const spec: MapSpec = { offsetBytes: 0, lengthBytes: 65_536, writable: true, guard: 'ones' };

  it('reads ones as a whole after one fault, and takes stores for itself', () => {
    using fd = os.create('lessor-test', 65_536);
    using mapping = os.map(fd, spec);
    const words = new Uint32Array(mapping.buffer);
    words[3] = 3;
    const faultsBefore = totalFaults();
    os.truncate(fd, 0);
    expect(mapping.revoked).toBe(false);
    words[1] = 1;
    expect(mapping.revoked).toBe(true);
    expect([words[0], words[1], words[3], words.at(-1)]).toEqual([allOnes, 1, allOnes, allOnes]);
    expect(totalFaults()).toBe(faultsBefore + 1);
  });

  it('keeps its flag after dispose, when the slot guards something else', () => {
    using fd = os.create('lessor-test', 65_536);
    const first = os.map(fd, spec);
    os.truncate(fd, 0);
    expect(new Uint8Array(first.buffer)[9]).toBe(0xff);
    first[Symbol.dispose]();
    os.truncate(fd, 65_536);
    using second = os.map(fd, spec);
    expect([first.revoked, second.revoked]).toEqual([true, false]);
  });

  it.each([65_536, 65_536 + 4096, 2 ** 20, 2 ** 24])('reads ones to its end at %i', (bytes) => {
    using fd = os.create('lessor-test', bytes);
    using mapping = os.map(fd, { ...spec, lengthBytes: bytes });
    os.truncate(fd, 0);
    const words = new Uint32Array(mapping.buffer);
    const faultsBefore = totalFaults();
    expect([words.at(-1), words[0]]).toEqual([allOnes, allOnes]);
    expect(totalFaults()).toBe(faultsBefore + 1);
  });

  it('reads ones when it is read-only', () => {
    using fd = os.create('lessor-test', 65_536);
    using mapping = os.map(fd, { ...spec, writable: false });
    os.truncate(fd, 0);
    expect(new Uint16Array(mapping.buffer)[77]).toBe(0xffff);
  });

  it('is given its slot again and again', () => {
    using fd = os.create('lessor-test', 4096);
    const slots = new Set<number>();
    const slotOut = new Int32Array(1);
    for (let round = 0; round < 10_000; round++) {
      const buffer = native.map(fd.number, 0, 4096, true, 1, slotOut);
      slots.add(slotOut[0]!);
      expect(native.unmap(buffer as ArrayBuffer)).toBe(0);
    }
    expect(slots.size).toBe(1);
  });
});

describe('guarded client memory', () => {
  it('turns to zeros by 2 MiB, where it was touched and nowhere else', () => {
    using fd = os.create('lessor-test', 3 * chunkBytes);
    const arena = os.createArena(4 * chunkBytes);
    const spec: MapSpec = {
      offsetBytes: 0,
      lengthBytes: 3 * chunkBytes,
      writable: true,
      guard: 'zeros',
    };
    const slot = arena.place(0, fd, spec);
    const words = new Uint32Array(arena.buffer, 0, (3 * chunkBytes) / 4);
    const chunkWords = chunkBytes / 4;
    words.fill(7);
    os.truncate(fd, chunkBytes);
    expect([words[0], arena.faults[slot]]).toEqual([7, 0]);
    expect([words[chunkWords + 5], arena.faults[slot]]).toEqual([0, 1]);
    words[chunkWords] = 9;
    expect([words[chunkWords], words[0], arena.faults[slot]]).toEqual([9, 7, 1]);
    expect([words[2 * chunkWords], arena.faults[slot]]).toEqual([0, 2]);
    arena.clear(0, 3 * chunkBytes, slot);
  });

  it('leaves its neighbours in the same 2 MiB alone', () => {
    using victim = os.create('lessor-test', 8192);
    using neighbour = os.create('lessor-test', 4096);
    const arena = os.createArena(chunkBytes);
    const page = { offsetBytes: 0, lengthBytes: 4096, writable: true, guard: 'zeros' } as const;
    const slots = [
      arena.place(0, neighbour, page),
      arena.place(4096, victim, { ...page, lengthBytes: 8192 }),
      arena.place(12_288, neighbour, page),
    ];
    const words = new Uint32Array(arena.buffer);
    words[0] = 11;
    words[1024] = 12;
    os.truncate(victim, 0);
    expect([words[1024], words[2048], words[0], words[3072]]).toEqual([0, 0, 11, 11]);
    expect(slots.map((slot) => arena.faults[slot])).toEqual([0, 1, 0]);
  });

  it('turns to zeros when it is read-only and not aligned', () => {
    using fd = os.create('lessor-test', chunkBytes + 4096);
    const lengthBytes = chunkBytes + 4096;
    const spec = { offsetBytes: 0, lengthBytes, writable: false, guard: 'zeros' } as const;
    using mapping = os.map(fd, spec);
    os.truncate(fd, 0);
    expect(new Uint8Array(mapping.buffer).every((byte) => byte === 0)).toBe(true);
    expect(mapping.revoked).toBe(true);
  });
});
