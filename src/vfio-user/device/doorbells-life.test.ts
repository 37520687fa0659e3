// Doorbells beside reset and migration, and those of mqdma.
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import {
  mqdma,
  queueControl,
  queuePage,
  queuePageOffset,
  queuePageWord,
  ringState,
  statusPage,
} from '../../device/mqdma/datasheet.js';
import { MqdmaDevice } from '../../device/mqdma/device.js';
import { systemClock } from '../../os/clock.js';
import { closeAll, type Fd } from '../../os/fd.js';
import { connectVfioUser } from '../client.js';
import { BellDevice, newGate } from '../testing/bell-lab.js';
import { labOs } from '../testing/lab.js';
import { labRegister } from '../testing/lab-device.js';
import { turns, until } from '../testing/world.js';
import { serveDevice } from './device-server.js';
import { ServedDevice } from './served-device.js';

const anyRing = `write 0 ${labRegister.STORAGE} 4 0`;
const signaller = labOs.events.createSignaller();
const made: (ServedDevice | { [Symbol.dispose](): void })[] = [];
afterEach(() => {
  for (const one of made.splice(0)) one[Symbol.dispose]();
});
afterAll(() => signaller[Symbol.dispose]());

function serve(): { device: BellDevice; served: ServedDevice; any: Fd; woken: Fd } {
  const device = new BellDevice();
  const served = new ServedDevice(device, {
    os: labOs,
    name: 'bells',
    dma: 'direct',
    arenaBytes: 2 ** 30,
    idleSpinMs: 0,
    onBug: (error) => {
      throw error;
    },
  });
  const entries = [...served.regionIoFds(0), ...served.regionIoFds(2)];
  const fds = [...new Set(entries.map(({ fd }) => fd))];
  made.push(served, { [Symbol.dispose]: () => closeAll(fds) });
  return { device, served, any: fds[0]!, woken: fds.at(-1)! };
}

describe('a reset', () => {
  it('drops what was rung before it, and no more', async () => {
    const { device, served, any } = serve();
    signaller.signal(any.number);
    await served.reset();
    await turns(10);
    expect([device.resets, device.writes]).toEqual([1, []]);
    signaller.signal(any.number);
    await until(() => device.writes.length === 1, 'rung after it');
  });

  it('waits for the ring that the device is at, and drops those that wait', async () => {
    const { device, served, any } = serve();
    const { promise, resolve } = newGate();
    device.gate = promise;
    signaller.signal(any.number);
    await until(() => device.writes.length === 1, 'rung');
    signaller.signal(any.number);
    await turns(10);
    const reset = served.reset();
    await turns();
    expect(device.resets).toBe(0);
    resolve();
    await reset;
    await turns(10);
    expect([device.resets, device.writes]).toEqual([1, [anyRing]]);
  });
});

describe('migration', () => {
  it('stops after what was rung has arrived', async () => {
    const { device, served, any } = serve();
    const { promise, resolve } = newGate();
    device.gate = promise;
    signaller.signal(any.number);
    const stop = served.migration!.transition('running', 'stop');
    await turns(10);
    expect([device.writes, device.isStopped]).toEqual([[anyRing], false]);
    resolve();
    await stop;
    expect(device.isStopped).toBe(true);
    await turns(10);
    expect(device.writes).toEqual([anyRing]);
  });

  it('takes the same bytes whether there are doorbells or not', async () => {
    const states: Uint8Array[] = [];
    for (const asks of [true, false]) {
      const { served, any } = serve();
      if (!asks) await served.closed();
      else signaller.signal(any.number);
      await served.migration!.transition('running', 'stop');
      await served.migration!.transition('stop', 'stop-copy');
      states.push(served.migration!.readData(limits.vfioUserStateBytesMax));
      await served.migration!.transition('stop-copy', 'stop');
      await served.migration!.transition('stop', 'running');
    }
    expect(states[0]!.length).toBeGreaterThan(8192);
    expect(states[0]).toEqual(states[1]);
  });

  it('leaves doorbells as they are', async () => {
    const { device, served, any, woken } = serve();
    await served.migration!.transition('running', 'stop');
    await served.migration!.transition('stop', 'running');
    signaller.signal(any.number);
    await until(() => device.writes.length === 1, 'rung');
    await until(() => device.sleeps > 0 && served.loop.isAsleep, 'asleep');
    const { steps } = device;
    signaller.signal(woken.number);
    await until(() => device.steps > steps, 'woken');
  });
});

describe('mqdma', () => {
  const { controlRegion, queueRegion } = mqdma;

  it('has its kicks as doorbells, as many as there may be', async () => {
    const { queueCountMax } = mqdma;
    for (const queueCount of [1, 3, queueCountMax]) {
      const device = new MqdmaDevice({ queueCount, pageBytes: labOs.memory.pageBytes });
      const { doorbells } = device.regions.find(({ index }) => index === queueRegion)!;
      expect(doorbells).toHaveLength(Math.min(queueCount, limits.vfioUserIoFdEntriesMax));
    }
  });

  it('is woken by one without a message', async () => {
    const { pageBytes } = labOs.memory;
    const device = new MqdmaDevice({ queueCount: 3, pageBytes });
    await using server = await serveDevice(device, { os: labOs, idleSpinMicros: 0 });
    const [near, far] = labOs.sockets.pair();
    server.attach(labOs.sockets.stream(near));
    const client = await connectVfioUser(labOs.sockets.stream(far), { clock: systemClock });
    const registers = mqdma.queueRegistersOffsetBytes + 2 * mqdma.queueRegistersStrideBytes;
    await client.write32(controlRegion, registers + queueControl.ENABLE, 1);
    const place = queuePageOffset(2, pageBytes);
    const { fd, lengthBytes } = await client.regionInfo(queueRegion);
    const spec = { offsetBytes: 0, lengthBytes, writable: true };
    using mapping = labOs.memory.map(fd!, spec);
    fd!.close();
    const words = new Uint32Array(mapping.buffer);
    const status = (offset: number) => Atomics.load(words, (place + pageBytes + offset) / 4);
    const bells = await client.regionIoFds(queueRegion);
    expect(bells.map(({ offsetBytes }) => Number(offsetBytes))).toEqual(
      [0, 1, 2].map((queue) => queuePageOffset(queue, pageBytes) + queuePage.KICK),
    );
    await until(() => status(statusPage.NEED_WAKEUP) === 1, 'asleep');
    // Rings of no entries, which it refuses as soon as it looks.
    Atomics.store(words, place / 4 + queuePageWord.RING_CONTROL, 1);
    await turns(50);
    expect(status(statusPage.STATE)).toBe(ringState.DISCONNECTED);
    signaller.signal(bells[2]!.fd!.number);
    await until(() => status(statusPage.STATE) === ringState.REJECTED, 'it looked');
    bells[2]!.fd!.close();
    client.close();
  });
});
