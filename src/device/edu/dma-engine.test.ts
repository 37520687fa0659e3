// The DMA of the EDU device, in both ways to memory.
import { describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { buffer, EduGuest, guestIova, turn } from '../testing/edu-guest.js';
import { eduRegister } from './registers.js';

const {
  LIVENESS,
  FACTORIAL,
  STATUS,
  INTERRUPT_STATUS,
  INTERRUPT_RAISE,
  DMA_SOURCE,
  DMA_DESTINATION,
  DMA_COUNT,
  DMA_COMMAND,
} = eduRegister;

describe.each([
  ['with direct memory', {}],
  ['by message', { messages: true }],
] as const)('DMA %s', (_, busOptions) => {
  /** Lets the answer of a message arrive. */
  async function settle(guest: EduGuest): Promise<void> {
    for (const message of guest.bus.pending.splice(0)) message.answer();
    await turn();
  }

  it('goes into the buffer and out of it', async () => {
    const guest = new EduGuest({}, busOptions);
    guest.fill(3);
    guest.command(BigInt(guestIova), BigInt(buffer), 4096n, 1n);
    await settle(guest);
    expect(guest.read(DMA_COMMAND)).toBe(0);
    guest.command(BigInt(buffer + 4096 - 5), BigInt(guestIova + 4090), 5n, 7n);
    await settle(guest);
    expect([guest.read(DMA_COMMAND, 8), guest.read(INTERRUPT_STATUS)]).toEqual([6n, 0x100]);
    expect([guest.bus.interrupts, guest.bus.intx]).toEqual([[0], true]);
    const moved = Array.from({ length: 5 }, (_, index) => ((4091 + index) * 7 + 3) & 0xff);
    expect(Array.from(guest.memory.subarray(4090, 4095))).toEqual(moved);
    expect(guest.logged).toEqual([]);
  });

  it('crosses pages', async () => {
    const guest = new EduGuest({}, busOptions);
    guest.fill(9);
    guest.command(BigInt(guestIova + 100), BigInt(buffer), 4096n, 1n);
    await settle(guest);
    const expected = Array.from(guest.memory.subarray(100, 4196));
    guest.memory.fill(0);
    guest.command(BigInt(buffer), BigInt(guestIova + 100), 4096n, 3n);
    await settle(guest);
    expect(Array.from(guest.memory.subarray(100, 4196))).toEqual(expected);
    expect(guest.memory[99]! + guest.memory[4196]!).toBe(0);
  });

  it('takes its time, in which the registers hold still', async () => {
    const guest = new EduGuest({ dmaDelayMs: 40 }, busOptions);
    guest.write(DMA_SOURCE, guestIova);
    guest.write(DMA_DESTINATION, buffer);
    guest.write(DMA_COUNT, 4);
    guest.write(DMA_COMMAND, 5);
    for (const register of [DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND]) {
      guest.write(register, 3);
    }
    guest.bus.now += 39;
    guest.bus.wakeAtMs = undefined;
    expect(guest.device.step()).toBe('waiting');
    expect(guest.bus.wakeAtMs).toBe(guest.bus.now + 1);
    await settle(guest);
    expect(guest.read(DMA_COMMAND)).toBe(5);
    guest.bus.now += 1;
    guest.step();
    await settle(guest);
    const registers = [DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND];
    expect(registers.map((register) => guest.read(register))).toEqual([guestIova, buffer, 4, 4]);
    expect(guest.bus.interrupts).toEqual([0]);
  });

  it('does nothing without the start bit', async () => {
    const guest = new EduGuest({}, busOptions);
    guest.command(BigInt(guestIova), BigInt(buffer), 4n, 6n);
    await settle(guest);
    expect([guest.read(DMA_COMMAND), guest.bus.interrupts]).toEqual([0, []]);
  });

  it('reaches 28 bits of address, or as many as it is told', async () => {
    const high = 0x7_0000_0000n;
    const cut = new EduGuest({}, busOptions);
    cut.memory.fill(0x41);
    cut.command(high + BigInt(guestIova), BigInt(buffer), 8n, 1n);
    await settle(cut);
    cut.command(BigInt(buffer), BigInt(guestIova + 4096), 8n, 3n);
    await settle(cut);
    expect(cut.memory[4096]).toBe(0x41);
    expect(cut.logged).toEqual(['edu: 0x700100000 is cut to 0x100000']);

    const wide = new EduGuest({ dmaBits: 36 }, busOptions);
    const at = wide.bus.map(undefined, Number(high), 4096);
    wide.bus.u8[at] = 0x42;
    wide.command(high, BigInt(buffer), 8n, 1n);
    await settle(wide);
    wide.command(BigInt(buffer), BigInt(guestIova), 8n, 3n);
    await settle(wide);
    expect(wide.memory[0]).toBe(0x42);
  });

  it.each([
    ['before the buffer', buffer - 1, 1n],
    ['past its end', buffer + 4090, 7n],
    ['behind it', buffer + 4097, 0n],
    ['far too much', buffer, 0xffff_ffff_ffff_ffffn],
    ['nowhere near', 0, 16n],
  ])('moves no byte %s, and is over', async (_, local, count) => {
    const guest = new EduGuest({}, busOptions);
    guest.fill(1);
    const before = guest.memory.slice();
    guest.command(BigInt(guestIova), BigInt(local), count, 5n);
    await settle(guest);
    guest.command(BigInt(local), BigInt(guestIova), count, 7n);
    await settle(guest);
    expect([guest.read(DMA_COMMAND), guest.read(INTERRUPT_STATUS)]).toEqual([6, 0x100]);
    expect([guest.logged.length, guest.bus.interrupts.length]).toEqual([2, 2]);
    expect(guest.memory).toEqual(before);
  });

  it('of nothing is over at once', async () => {
    const guest = new EduGuest({}, busOptions);
    guest.command(BigInt(guestIova), BigInt(buffer + 4096), 0n, 5n);
    expect([guest.read(DMA_COMMAND), guest.logged]).toEqual([4, []]);
  });

  it('that is refused leaves the buffer as it was, and is over', async () => {
    const guest = new EduGuest({}, busOptions);
    guest.fill(5);
    guest.command(BigInt(guestIova), BigInt(buffer), 4096n, 1n);
    await settle(guest);
    const kept = guest.memory.slice(0, 4096);
    guest.fill(6);
    guest.command(BigInt(guestIova + 8192 - 64), BigInt(buffer), 128n, 5n);
    await settle(guest);
    expect(guest.read(INTERRUPT_STATUS)).toBe(0x100);
    expect(guest.logged).toEqual(['edu: read of 128 bytes at 0x101fc0: not mapped']);
    guest.command(BigInt(buffer), BigInt(guestIova), 4096n, 3n);
    await settle(guest);
    expect(guest.memory.slice(0, 4096)).toEqual(kept);
  });
});

describe('DMA by message', () => {
  it('waits in no handler and no step', async () => {
    const guest = new EduGuest({}, { messages: true });
    guest.command(BigInt(guestIova), BigInt(buffer), 16n, 5n);
    expect(guest.device.step()).toBe('idle');
    expect(guest.bus.pending).toHaveLength(1);
    expect(guest.read(DMA_COMMAND)).toBe(5);
    guest.write(FACTORIAL, 4);
    guest.step();
    expect(guest.read(FACTORIAL)).toBe(24);
    guest.bus.pending.shift()!.answer();
    await turn();
    expect([guest.read(DMA_COMMAND), guest.bus.interrupts]).toEqual([4, [0]]);
  });

  it('is over when the other side is gone', async () => {
    const guest = new EduGuest({}, { messages: true });
    guest.bus.read = () => Promise.reject(new OsError('ECANCELED', 'DMA_READ'));
    guest.command(BigInt(guestIova), BigInt(buffer), 16n, 5n);
    await turn();
    expect([guest.read(DMA_COMMAND), guest.read(INTERRUPT_STATUS)]).toEqual([4, 0x100]);
    expect(guest.logged).toEqual(['edu: read of 16 bytes at 0x100000: DMA_READ: ECANCELED']);
  });

  it('that comes back after a reset is nobody’s', async () => {
    const guest = new EduGuest({}, { messages: true });
    guest.fill(8);
    guest.command(BigInt(guestIova), BigInt(buffer), 4096n, 5n);
    const late = guest.bus.pending.splice(0);
    guest.write(LIVENESS, 1);
    guest.write(INTERRUPT_RAISE, 1);
    guest.device.reset();
    for (const message of late) message.answer();
    await turn();
    const registers = [LIVENESS, FACTORIAL, STATUS, INTERRUPT_STATUS, DMA_SOURCE, DMA_COMMAND];
    expect(registers.map((register) => guest.read(register))).toEqual([0, 0, 0, 0, 0, 0]);
    expect([guest.bus.intx, guest.bus.interrupts]).toEqual([false, [0]]);
    guest.command(BigInt(buffer), BigInt(guestIova), 4096n, 3n);
    for (const message of guest.bus.pending.splice(0)) message.answer();
    await turn();
    expect(guest.memory.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
  });
});
