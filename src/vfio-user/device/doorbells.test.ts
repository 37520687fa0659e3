// Doorbells of a served device through real eventfds: what a ring becomes, and when it does not.
import { spawn } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import type { Fd } from '../../os/fd.js';
import { loadNative } from '../../os/native.js';
import { createOs } from '../../os/os.js';
import { FaultyOs } from '../../os/testing/faulty-os.js';
import { openDescriptors } from '../../os/testing/open-descriptors.js';
import { KVM_IOEVENTFD_FLAG_DATAMATCH } from '../../uapi/vfio-user.js';
import { newGate, startBellLab } from '../testing/bell-lab.js';
import { errnoOf, labOs, startLab } from '../testing/lab.js';
import { labId, labPage, labRegister } from '../testing/lab-device.js';
import { turns, until } from '../testing/world.js';

const { STORAGE, MANNERS, ID } = labRegister;
const anyRing = `write 0 ${STORAGE} 4 0`;
const signaller = labOs.events.createSignaller();
afterAll(() => signaller[Symbol.dispose]());

function ring(fd: Fd): void {
  expect(signaller.signal(fd.number)).toBe(0);
}

function eventFdCount(): number {
  return [...openDescriptors().values()].filter((link) => link.includes('[eventfd]')).length;
}

describe('doorbells', () => {
  it('are entries of an eventfd each, but of one where they are in frames', async () => {
    await using lab = await startBellLab();
    const entries = await lab.client.regionIoFds(0);
    const match = KVM_IOEVENTFD_FLAG_DATAMATCH;
    expect(entries.map((entry) => [entry.offsetBytes, entry.lengthBytes])).toEqual(
      [
        [STORAGE, 4],
        [STORAGE + 4, 2],
        [STORAGE + 4, 2],
        [STORAGE + 8, 8],
        [MANNERS, 4],
        [MANNERS, 4],
      ].map(([offset, length]) => [BigInt(offset!), BigInt(length!)]),
    );
    expect(entries.map(({ flags }) => flags)).toEqual([0, match, match, match, match, match]);
    expect(entries.map(({ data }) => data)).toEqual([0n, 7n, 9n, 2n ** 63n, 1n, 2n]);
    expect(entries.every(({ kind }) => kind === 'ioeventfd')).toBe(true);
    expect(new Set(entries.map(({ fd }) => fd?.number)).size).toBe(entries.length);
    const inFrames = await lab.client.regionIoFds(2);
    expect(inFrames).toHaveLength(2);
    expect(inFrames[1]!.fd).toBe(inFrames[0]!.fd);
    for (const { fd } of [...entries, inFrames[0]!]) fd?.close();
    expect(await lab.client.regionIoFds(4)).toEqual([]);
    expect(await lab.client.regionIoFds(7)).toEqual([]);
  });

  it('arrive as writes of their value', async () => {
    await using lab = await startBellLab();
    const { any, seven, nine, wide } = await lab.bells();
    const wants = [
      [any, anyRing],
      [nine, `write 0 ${STORAGE + 4} 2 9`],
      [seven, `write 0 ${STORAGE + 4} 2 7`],
      [wide, `write 0 ${STORAGE + 8} 8 ${2n ** 63n}`],
    ] as const;
    for (const [fd, want] of wants) {
      lab.device.calls.length = 0;
      const { steps } = lab.device;
      ring(fd);
      await until(() => lab.device.calls.length > 0 && lab.device.steps > steps, want);
      await turns();
      expect(lab.device.calls).toEqual([want]);
    }
    expect(await lab.client.read64(0, STORAGE + 8)).toBe(2n ** 63n);
  });

  it('may arrive as one, however often they were rung', async () => {
    await using lab = await startBellLab();
    const { any } = await lab.bells();
    for (let count = 0; count < 100; count++) ring(any);
    await until(() => lab.device.calls.length > 0, 'rung');
    await turns();
    expect(lab.device.calls).toEqual([anyRing]);
  });

  it('in frames wake a device that sleeps, and store nothing', async () => {
    await using lab = await startBellLab({ idleSpinMicros: 0 });
    const { device, client } = lab;
    const [entry] = await client.regionIoFds(2);
    await client.write32(2, labPage.target + 8, 42);
    await until(() => device.sleeps > 0, 'asleep');
    await turns(20);
    const { steps } = device;
    await turns(20);
    expect(device.steps).toBe(steps);
    ring(entry!.fd!);
    await until(() => device.steps > steps, 'a step');
    expect(device.writes).toEqual([]);
    expect(await client.read32(2, labPage.target + 8)).toBe(42);
    entry!.fd!.close();
  });

  it('of a device that refuses are heard by nobody', async () => {
    await using lab = await startBellLab();
    const { refused, any } = await lab.bells();
    ring(refused);
    await until(() => lab.device.writes.length === 1, 'refused');
    ring(any);
    await until(() => lab.device.writes.length === 2, 'the next');
    expect(await lab.client.read32(0, ID)).toBe(labId);
  });

  it('that come upon a bug of the device end its server', async () => {
    const bugs: unknown[] = [];
    await using lab = await startBellLab({ onBug: (error) => bugs.push(error) });
    const { bug, any } = await lab.bells();
    ring(any);
    ring(bug);
    await until(() => bugs.length > 0 && !lab.client.isOpen, 'the end');
    expect(String(bugs[0])).toMatch(/a bug of the device/);
    const { length } = lab.device.calls;
    ring(any);
    await turns(20);
    expect(lab.device.calls).toHaveLength(length);
  });

  it('that come upon a bug later end it too', async () => {
    const bugs: unknown[] = [];
    await using lab = await startBellLab({ onBug: (error) => bugs.push(error) });
    const { any } = await lab.bells();
    const { promise, resolve } = newGate();
    lab.device.gate = promise.then(() => {
      throw new TypeError('a late bug');
    });
    ring(any);
    await until(() => lab.device.calls.length === 1, 'rung');
    resolve();
    await until(() => bugs.length > 0 && !lab.client.isOpen, 'the end');
    expect(String(bugs[0])).toMatch(/a late bug/);
  });

  it('are not given when descriptors are used up, and are the next time', async () => {
    const faulty = new FaultyOs(loadNative());
    await using lab = await startBellLab({ os: createOs(faulty.binding) });
    const before = eventFdCount();
    for (const [nth, call] of [
      [1, 'eventFd'],
      [4, 'eventFd'],
      [3, 'pollStart'],
    ] as const) {
      faulty.failNth(nth, 'EMFILE', call);
      expect(await errnoOf(lab.client.regionIoFds(0))).toBe('EMFILE');
      expect(eventFdCount()).toBe(before);
    }
    const { any } = await lab.bells();
    const held = eventFdCount();
    faulty.failNth(3, 'EMFILE', 'duplicate');
    expect(await errnoOf(lab.client.regionIoFds(0))).toBe('EMFILE');
    expect(eventFdCount()).toBe(held);
    ring(any);
    await until(() => lab.device.writes.length === 1, 'rung');
  });
});

describe('a ring and a request', () => {
  it('reach the device one after the other', async () => {
    await using lab = await startBellLab();
    const { device, client } = lab;
    const { any, nine } = await lab.bells();
    const first = newGate();
    device.gate = first.promise;
    const write = client.write32(0, STORAGE + 16, 5);
    await until(() => device.calls.length === 1, 'the request');
    ring(any);
    ring(nine);
    await turns(10);
    expect(device.calls).toHaveLength(1);
    const second = newGate();
    device.gate = second.promise;
    first.resolve();
    await write;
    await until(() => device.calls.length === 2, 'a ring');
    const read = client.read32(0, ID);
    await turns(10);
    expect(device.calls).toHaveLength(2);
    device.gate = undefined;
    second.resolve();
    expect(await read).toBe(labId);
    await until(() => device.writes.length === 3, 'the other ring');
    expect(device.calls.indexOf(`read 0 ${ID} 4`)).toBe(2);
  });

  it('lets no request of a client run that went while it waited', async () => {
    await using lab = await startBellLab();
    const { device, client } = lab;
    const { any } = await lab.bells();
    const { promise, resolve } = newGate();
    device.gate = promise;
    ring(any);
    await until(() => device.calls.length === 1, 'the ring');
    const late = errnoOf(client.write32(0, STORAGE, 1));
    await turns(10);
    client.close();
    expect(await late).toBe('ECANCELED');
    await turns(10);
    device.gate = undefined;
    resolve();
    const next = await lab.connect();
    expect(await next.read32(0, STORAGE)).toBe(0);
    expect(device.writes).toEqual([anyRing]);
  });
});

describe('a client that is gone', () => {
  it('rings nothing, whenever it went', async () => {
    await using lab = await startBellLab();
    let client = lab.client;
    for (let round = 0; round < 10; round++) {
      const { any } = await lab.bells(client);
      // Rung before the end, which this side sees first or last.
      ring(any);
      await turns(round % 4);
      client.close();
      client = await lab.connect();
      lab.device.calls.length = 0;
      ring(any);
      await turns(10);
      expect(lab.device.calls).toEqual([]);
    }
    const { any } = await lab.bells(client);
    ring(any);
    await until(() => lab.device.calls.length > 0, 'its own rings');
  });

  it('leaves nothing open', async () => {
    await using lab = await startBellLab();
    const before = eventFdCount();
    const entries = [...(await lab.client.regionIoFds(0)), ...(await lab.client.regionIoFds(2))];
    for (const fd of new Set(entries.map((entry) => entry.fd))) fd?.close();
    expect(eventFdCount()).toBeGreaterThan(before);
    lab.client.close();
    await lab.connect();
    expect(eventFdCount()).toBe(before);
  });
});

describe('a client that rings without end', () => {
  it('costs a write in a turn, and holds up neither itself nor a neighbour', async () => {
    await using lab = await startBellLab();
    await using other = await startLab();
    const { any } = await lab.bells();
    // Two of them fill the counter, so that the third waits; as descriptor 0 it loses O_NONBLOCK.
    const script = `
      import { writeSync } from 'node:fs';
      const bytes = new Uint8Array(BigUint64Array.of(2n ** 63n).buffer);
      for (;;) writeSync(0, bytes);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: [any.number, 'ignore', 'inherit'],
    });
    const { device } = lab;
    try {
      await until(() => device.writes.length > 100, 'a storm');
      const start = device.writes.length;
      let rounds = 0;
      let isOver = false;
      const count = (): void => {
        rounds++;
        if (!isOver) setImmediate(count);
      };
      setImmediate(count);
      for (let index = 0; index < 100; index++) {
        expect(await other.client.read32(0, ID)).toBe(labId);
        expect(await lab.client.read32(0, ID)).toBe(labId);
      }
      isOver = true;
      expect(device.writes.length).toBeGreaterThan(start);
      expect(device.writes.length - start).toBeLessThanOrEqual(rounds + 2);
      lab.client.close();
      const next = await lab.connect();
      const { length } = device.writes;
      expect(await next.read32(0, ID)).toBe(labId);
      await turns(20);
      expect(device.writes).toHaveLength(length);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
