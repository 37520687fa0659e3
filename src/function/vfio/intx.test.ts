import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { silentLogger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import { createOs } from '../../os/index.js';
import { FakeClock } from '../../os/testing/fake-clock.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import { VFIO_PCI_INTX_IRQ_INDEX } from '../../uapi/vfio.js';
import { IntxInterrupt } from './intx.js';
import { FakeInterrupts } from './testing/fake-interrupts.js';

const { events, memory } = createOs();

const rigs: Rig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.end();
});

class Rig {
  readonly device = new FakeInterrupts([{ index: VFIO_PCI_INTX_IRQ_INDEX, count: 1 }]);
  readonly clock = new FakeClock();
  readonly own: Fd = events.createEventFd();
  line!: IntxInterrupt;

  static async open(): Promise<Rig> {
    const rig = new Rig();
    rigs.push(rig);
    const { clock } = rig;
    rig.line = await IntxInterrupt.enable(rig.device, { events, clock, log: silentLogger });
    return rig;
  }

  /** Turns of the event loop in which descriptors are looked at, without time passing. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 6; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async pass(durationMs: number): Promise<void> {
    for (let past = 0; past < durationMs; past += 1) {
      this.clock.advance(1);
      await this.settle();
    }
  }

  signals(): number {
    return Number(events.drain(this.own));
  }

  async end(): Promise<void> {
    await this.line[Symbol.asyncDispose]();
    this.device[Symbol.dispose]();
    this.own.close();
  }
}

describe('INTx', () => {
  it('signals the holder and is unmasked, once for a device that was served', async () => {
    const rig = await Rig.open();
    await rig.line.bind(0, rig.own.duplicate());
    for (let time = 1; time <= 3; time += 1) {
      rig.device.assertLine();
      rig.device.isAsserted = false;
      await rig.pass(2);
      expect(rig.signals()).toBe(1);
      expect(rig.device.unmaskCount).toBe(time);
    }
  });

  it('of nobody stays masked, and is told to the next who binds', async () => {
    const rig = await Rig.open();
    rig.device.assertLine();
    await rig.pass(200);
    expect(rig.device.unmaskCount).toBe(0);
    await rig.line.bind(0, rig.own.duplicate());
    await rig.settle();
    expect(rig.signals()).toBeGreaterThan(0);
  });

  it('that is never acknowledged does not storm', async () => {
    const rig = await Rig.open();
    await rig.line.bind(0, rig.own.duplicate());
    rig.device.assertLine();
    await rig.pass(1000);
    const doublings = Math.log2(limits.intxPauseMsMax) + 2;
    const mostUnmasks = doublings + 1000 / limits.intxPauseMsMax;
    expect(rig.device.unmaskCount).toBeGreaterThan(10);
    expect(rig.device.unmaskCount).toBeLessThanOrEqual(mostUnmasks);
    rig.signals();
    // Served at last, it is as before.
    rig.device.isAsserted = false;
    await rig.pass(limits.intxPauseMsMax);
    rig.signals();
    rig.device.assertLine();
    rig.device.isAsserted = false;
    await rig.pass(2);
    expect(rig.signals()).toBe(1);
  });

  it('says nothing to a holder that was unbound, and closes its descriptor at once', async () => {
    const rig = await Rig.open();
    const given = rig.own.duplicate();
    await rig.line.bind(0, given);
    await rig.line.bind(0, undefined);
    expect(given.isOpen).toBe(false);
    rig.device.assertLine();
    await rig.pass(10);
    expect(rig.signals()).toBe(0);
  });

  it('that cannot be unmasked is tried again for the next who binds', async () => {
    const rig = await Rig.open();
    await rig.line.bind(0, rig.own.duplicate());
    rig.device.failNext('EIO');
    rig.device.assertLine();
    await rig.pass(100);
    expect(rig.device.unmaskCount).toBe(0);
    rig.device.isAsserted = false;
    await rig.line.bind(0, rig.own.duplicate());
    await rig.pass(2);
    expect(rig.device.unmaskCount).toBe(1);
  });

  it('takes one vector and eventfds alone, and owns what it refuses', async () => {
    const rig = await Rig.open();
    const wrongVector = rig.own.duplicate();
    const refused = rig.line.bind(1, wrongVector);
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const file = memory.create('no-eventfd', 4096);
    await expect(rig.line.bind(0, file)).rejects.toMatchObject({ code: 'FD_REFUSED' });
    expect([wrongVector.isOpen, file.isOpen]).toEqual([false, false]);
  });

  it('leaves nothing open when it ends, also in the middle of a storm', async () => {
    const before = openDescriptors().size;
    const rig = await Rig.open();
    await rig.line.bind(0, rig.own.duplicate());
    rig.device.assertLine();
    await rig.pass(5);
    await rigs.splice(rigs.indexOf(rig), 1)[0]!.end();
    await rig.pass(100);
    expect(openDescriptors().size).toBe(before);
    expect(rig.clock.pendingCount).toBe(0);
    const late = events.createEventFd();
    await expect(rig.line.bind(0, late)).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    expect(late.isOpen).toBe(false);
  });

  it('of a device whose line cannot be had leaves nothing open', async () => {
    const before = openDescriptors().size;
    using device = new FakeInterrupts([{ index: VFIO_PCI_INTX_IRQ_INDEX, count: 1, available: 0 }]);
    const opening = IntxInterrupt.enable(device, {
      events,
      clock: new FakeClock(),
      log: silentLogger,
    });
    await expect(opening).rejects.toMatchObject({ errno: 'ENOSPC' });
    device[Symbol.dispose]();
    expect(openDescriptors().size).toBe(before);
  });
});
