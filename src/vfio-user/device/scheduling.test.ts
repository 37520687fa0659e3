// When a served device runs: bounded turns, fair shares, sleep that costs nothing.
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../os/clock.js';
import { startLab } from '../testing/lab.js';
import { labPage, labRegister, labStatusWord } from '../testing/lab-device.js';
import { until } from '../testing/world.js';

const needWakeup = labPage.status + 4 * labStatusWord.NEED_WAKEUP;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(ms, resolve);
  });
}

describe('a device', () => {
  it('sleeps when idle, and says so', async () => {
    await using lab = await startLab();
    const { device, client } = lab;
    await until(() => device.sleeps > 0, 'asleep');
    expect(await client.read32(2, needWakeup)).toBe(1);
    const { steps } = device;
    const before = process.cpuUsage();
    await pause(300);
    const { user, system } = process.cpuUsage(before);
    expect(device.steps).toBe(steps);
    // Of 300 ms; the rest is this test's own event loop.
    expect((user + system) / 1000).toBeLessThan(60);
  });

  it('looks for its spin time before it sleeps', async () => {
    await using spinning = await startLab({ idleSpinMicros: 1_000_000 });
    await using resting = await startLab({ idleSpinMicros: 0 });
    await pause(100);
    expect(spinning.device.sleeps).toBe(0);
    expect(spinning.device.steps).toBeGreaterThan(100);
    expect(resting.device.sleeps).toBeGreaterThan(0);
    expect(resting.device.steps).toBeLessThan(10);
  });

  it('sees work in a mapped frame without a message while it spins', async () => {
    await using lab = await startLab({ idleSpinMicros: 1_000_000 });
    lab.device.bus!.frame(2, labPage.target).u32[0] = 3;
    const status = lab.device.bus!.frame(2, labPage.status);
    await until(() => status.u32[status.base + labStatusWord.COUNT] === 3, 'counted');
  });

  it('is woken at the time it asked for', async () => {
    await using lab = await startLab();
    const { device, client } = lab;
    await until(() => device.sleeps > 0, 'asleep');
    const startMs = systemClock.nowMs();
    await client.write32(0, labRegister.WAKE_AFTER, 30);
    await until(() => device.wakes === 1, 'woken');
    expect(systemClock.nowMs() - startMs).toBeGreaterThanOrEqual(30);
    const { sleeps } = device;
    await until(() => device.sleeps > sleeps, 'asleep again');
  });

  it('that is busy holds up neither its own client nor its neighbours', async () => {
    await using lab = await startLab();
    await using other = await startLab();
    await lab.client.write32(0, labRegister.BUSY, 2 ** 31);
    await other.client.write32(0, labRegister.BUSY, 2 ** 31);
    for (let count = 0; count < 50; count++) {
      await lab.client.read32(0, labRegister.ID);
      await other.client.read32(0, labRegister.ID);
    }
    const steps = [lab.device.steps, other.device.steps];
    await pause(100);
    const mine = lab.device.steps - steps[0]!;
    const others = other.device.steps - steps[1]!;
    expect(mine).toBeGreaterThan(100);
    expect(others / mine).toBeGreaterThan(0.5);
    expect(others / mine).toBeLessThan(2);
    await lab.client.write32(0, labRegister.BUSY, 0);
    await until(() => lab.device.sleeps > 0, 'asleep');
  });

  it('is one of many in a process', async () => {
    const labs = await Promise.all(Array.from({ length: 20 }, () => startLab()));
    for (const lab of labs) await lab.client.write32(2, labPage.target, 100);
    for (const lab of labs) {
      while ((await lab.client.read32(2, labPage.status)) !== 100);
    }
    await Promise.all(labs.map((lab) => lab[Symbol.asyncDispose]()));
  });
});
