// The EDU device on its way to another server.
import { describe, expect, it } from 'vitest';
import { buffer, EduGuest, guestIova, turn } from '../testing/edu-guest.js';
import type { TestBusOptions } from '../testing/test-bus.js';
import { eduRegister } from './registers.js';

const { LIVENESS, FACTORIAL, STATUS, INTERRUPT_STATUS, INTERRUPT_RAISE, DMA_COMMAND } = eduRegister;

describe('migration', () => {
  /** Another device of the same kind, stopped, that took over the state of the first. */
  function arrive(from: EduGuest, busOptions: TestBusOptions = {}): EduGuest {
    const state = from.device.migration.save();
    const to = new EduGuest({}, busOptions);
    to.device.migration.stop();
    to.device.migration.load(state);
    return to;
  }

  it('takes registers, buffer and a pending interrupt along', () => {
    const from = new EduGuest();
    from.fill(2);
    from.command(BigInt(guestIova), BigInt(buffer), 4096n, 1n);
    from.write(LIVENESS, 5);
    from.write(STATUS, 0x80);
    from.write(FACTORIAL, 6);
    from.write(INTERRUPT_RAISE, 0x40);
    from.device.migration.stop();
    from.step();
    expect(from.read(STATUS)).toBe(0x81);

    const to = arrive(from);
    expect([to.bus.interrupts, to.bus.intx]).toEqual([[], false]);
    to.step();
    expect([to.read(STATUS), to.read(LIVENESS)]).toEqual([0x81, 0xfffffffa]);
    to.device.migration.start();
    expect([to.bus.interrupts, to.bus.intx]).toEqual([[0], true]);
    to.step();
    expect([to.read(FACTORIAL), to.read(INTERRUPT_STATUS)]).toEqual([720, 0x41]);
    to.command(BigInt(buffer), BigInt(guestIova), 4096n, 3n);
    expect(to.memory.subarray(0, 4096)).toEqual(from.memory.subarray(0, 4096));
  });

  it('does a transfer by message again that was under way', async () => {
    const from = new EduGuest({}, { messages: true });
    from.command(BigInt(guestIova), BigInt(buffer), 64n, 5n);
    from.device.migration.stop();
    from.bus.pending.shift()!.answer();
    await turn();
    expect([from.read(DMA_COMMAND), from.bus.interrupts]).toEqual([5, []]);

    const to = arrive(from, { messages: true });
    to.device.migration.start();
    to.bus.now += 100;
    to.step();
    expect(to.bus.pending).toHaveLength(1);
    to.bus.pending.shift()!.answer();
    await turn();
    expect([to.read(DMA_COMMAND), to.bus.interrupts]).toEqual([4, [0]]);
    // Where it came from can go on as well, when the move failed.
    from.device.migration.start();
    from.bus.now += 100;
    from.step();
    from.bus.pending.shift()!.answer();
    await turn();
    expect([from.read(DMA_COMMAND), from.bus.interrupts]).toEqual([4, [0]]);
  });

  it('keeps quiet while stopped', () => {
    const guest = new EduGuest();
    guest.device.migration.stop();
    guest.write(INTERRUPT_RAISE, 1);
    guest.command(BigInt(guestIova), BigInt(buffer), 16n, 5n);
    expect([guest.bus.interrupts, guest.bus.intx, guest.read(DMA_COMMAND)]).toEqual([[], false, 5]);
  });

  it.each([
    ['nothing', (_: Uint8Array) => new Uint8Array(0)],
    ['a byte too few', (state: Uint8Array) => state.subarray(1)],
    ['a byte too many', (state: Uint8Array) => Uint8Array.of(...state, 0)],
    ['another device', (state: Uint8Array) => state.fill(1, 0, 1)],
    ['another version', (state: Uint8Array) => state.fill(9, 4, 5)],
    ['an unknown status bit', (state: Uint8Array) => state.fill(2, 16, 17)],
  ])('refuses %s and keeps what it has', (_, spoil) => {
    const guest = new EduGuest();
    guest.write(LIVENESS, 5);
    guest.device.migration.stop();
    const spoilt = spoil(guest.device.migration.save());
    expect(() => guest.device.migration.load(spoilt)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(guest.read(LIVENESS)).toBe(0xfffffffa);
  });
});
