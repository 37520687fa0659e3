// The queue library against the device, both in this process.
import { afterEach, describe, expect, it } from 'vitest';
import { isLessorError } from '../../base/errors.js';
import {
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePage,
  queuePageWord,
} from '../../device/mqdma/datasheet.js';
import { MqdmaDevice } from '../../device/mqdma/device.js';
import { TestBus } from '../../device/testing/test-bus.js';
import type { DeviceFault } from './device-fault.js';
import { Queue } from './queue.js';
import { TestLease, type TestLeaseOptions } from './testing/test-lease.js';

const leases: TestLease[] = [];

afterEach(() => {
  for (const lease of leases.splice(0)) lease.stop();
});

function setUp(options: TestLeaseOptions = {}): TestLease {
  const bus = new TestBus();
  const device = new MqdmaDevice({ queueCount: 2, faultInjection: true });
  device.attach(bus);
  const lease = new TestLease(device, bus, options);
  control(lease, queueControl.ENABLE, 1);
  leases.push(lease);
  return lease.start();
}

function control(lease: TestLease, register: number, value: number): void {
  const offset = queueControlOffset(lease.queue) + register;
  lease.device.write(mqdma.controlRegion, offset, 4, value);
}

async function failure(promise: Promise<unknown>): Promise<DeviceFault> {
  try {
    await promise;
  } catch (error) {
    if (isLessorError(error)) return error as DeviceFault;
    throw error;
  }
  throw new RangeError('nothing was thrown');
}

describe.each(['mapped', 'message'] as const)('a queue over %s windows', (kind) => {
  it('runs every operation', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease, { entries: 8 });
    const one = await lease.memory.allocate(8192);
    const other = await lease.memory.allocate(8192);
    for (let index = 0; index < 8192; index++) one.u8[index] = index % 251;
    await queue.nop();
    const lengthBytes = 5000;
    const source = one.iova + 3;
    const destination = other.iova;
    await queue.copy({ source, destination, lengthBytes });
    expect(other.u8.subarray(0, lengthBytes)).toEqual(one.u8.subarray(3, 3 + lengthBytes));
    expect(await queue.compare({ source, destination, lengthBytes })).toBe(undefined);
    other.u8[0]! ^= 1;
    expect(await queue.compare({ source, destination, lengthBytes })).toBe(0);
    await queue.fill({ destination, lengthBytes: 9, pattern: 0x31 });
    for (let digit = 0; digit < 9; digit++) other.u8[digit] = 0x31 + digit;
    expect(await queue.crc32c({ source: destination, lengthBytes: 9 })).toBe(0xe3069283);
    await queue.fill({ destination, lengthBytes: 10, pattern: 0x0807060504030201n });
    expect([...other.u8.subarray(0, 10)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
  });

  it('keeps many under way, in several passes of the ring, with one doorbell a batch', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease, { entries: 16 });
    const memory = await lease.memory.allocate(4096);
    memory.u8.fill(7);
    const want = await queue.crc32c({ source: memory.iova, lengthBytes: 100 });
    lease.messages.length = 0;
    for (let round = 0; round < 20; round++) {
      const all = Array.from({ length: 16 }, () =>
        queue.crc32c({ source: memory.iova, lengthBytes: 100 }),
      );
      expect(new Set(await Promise.all(all))).toEqual(new Set([want]));
    }
    const rings = lease.messages.filter(({ offsetBytes }) => offsetBytes === queuePage.TAIL);
    expect(rings.length).toBe(kind === 'mapped' ? 0 : 20);
  });

  it('rejects everything with the record when the device stops the queue, then mends', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease, { entries: 8 });
    const nowhere = 0xdead_0000_0000;
    const bad = queue.copy({ source: nowhere, destination: nowhere, lengthBytes: 4 });
    const after = queue.nop();
    const error = await failure(bad);
    expect(error.code).toBe('DEVICE_FAULT');
    expect(error.fault).toEqual({ iova: nowhere, access: 'read', reason: 'not mapped' });
    expect((await failure(after)).fault).toEqual(error.fault);
    expect((await failure(queue.nop())).code).toBe('DEVICE_FAULT');
    await queue.reset();
    await queue.nop();
    expect(queue.failure).toBe(undefined);
  });

  it('rejects everything when the lease ends', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease);
    lease.stop();
    const waiting = [queue.nop(), queue.nop()];
    const failures = Promise.all(waiting.map(failure));
    await new Promise(setImmediate);
    lease.end();
    for (const error of await failures) expect(error.code).toBe('LEASE_REVOKED');
    expect((await failure(queue.nop())).code).toBe('LEASE_REVOKED');
    expect((await failure(queue.reset())).code).toBe('LEASE_REVOKED');
    await queue[Symbol.asyncDispose]();
    expect(lease.liveAllocations).toBe(0);
  });

  it('gives the memory of the rings back, after the device has let go', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease);
    await queue.nop();
    await queue[Symbol.asyncDispose]();
    expect(lease.liveAllocations).toBe(0);
    expect(lease.bus.frameOf(mqdma.queueRegion, 4096).u32[0]).toBe(0);
    expect((await failure(queue.nop())).code).toBe('LEASE_ENDED');
  });

  it('refuses more than the ring holds', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease, { entries: 2 });
    const two = [queue.nop(), queue.nop()];
    expect((await failure(queue.nop())).code).toBe('QUEUE_FULL');
    await Promise.all(two);
    await queue.nop();
  });

  it('survives lost interrupts', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease, { spinMicros: 0 });
    control(lease, queueControl.INJECT_LOST_INTERRUPTS, 0xffffffff);
    await queue.nop();
    expect(lease.waits).toBeGreaterThan(0);
  });

  it('hears of a refused descriptor alone', async () => {
    const lease = setUp({ kind });
    const queue = await Queue.create(lease);
    const queueWords = await failure(queue.fill({ destination: 0, lengthBytes: 1, pattern: 256 }));
    expect(queueWords.code).toBe('INVALID_ARGUMENT');
    await queue.nop();
  });
});

describe('the synchronous path', () => {
  it('goes round without a message, an interrupt or the event loop', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease, { entries: 4 });
    lease.stop();
    lease.messages.length = 0;
    for (let round = 0; round < 50; round++) {
      const ticket = queue.submitNop();
      queue.ring();
      expect(queue.isDone(ticket)).toBe(false);
      while (lease.device.step() === 'more');
      expect(queue.poll()).toBe(1);
      expect(queue.isDone(ticket)).toBe(true);
      expect(queue.statusOf(ticket)).toBe(0);
    }
    expect(lease.messages).toEqual([]);
    expect(lease.bus.interrupts).toEqual([]);
  });

  it('does not allocate', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease, { entries: 64 });
    lease.stop();
    const round = (): void => {
      queue.submitNop();
      queue.ring();
      lease.device.step();
      if (queue.poll() !== 1) throw new RangeError('no completion');
    };
    for (let warm = 0; warm < 20_000; warm++) round();
    const growth = (): number => {
      const before = process.memoryUsage().heapUsed;
      for (let measured = 0; measured < 20_000; measured++) round();
      return process.memoryUsage().heapUsed - before;
    };
    const growths = Array.from({ length: 5 }, growth).sort((one, other) => one - other);
    // One object a round would be at least 16 bytes each: 320,000 every time. Now and then the
    // compiler allocates beside it, or a collection frees: the middle one has neither.
    expect(growths[2]).toBeLessThan(100_000);
  });

  it('wakes a sleeping device by one message each time, without the event loop', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease);
    lease.stop();
    expect(lease.device.prepareSleep()).toBe(true);
    const kicks: number[] = [];
    lease.onPost = (offsetBytes) => {
      kicks.push(offsetBytes);
      lease.device.awake();
    };
    // Every time anew, though this client never turns to its event loop to hear a reply.
    for (let round = 1; round <= 5; round++) {
      queue.submitNop();
      queue.ring();
      expect(kicks).toEqual(new Array(round).fill(queuePage.KICK));
      while (lease.device.step() === 'more');
      expect(queue.poll()).toBe(1);
      expect(lease.device.prepareSleep()).toBe(true);
    }
  });

  it('throws the fault, and the revocation', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease);
    lease.stop();
    queue.submitCrc32c(0x999000, 1, 0);
    queue.ring();
    while (lease.device.step() === 'more');
    expect(queue.poll()).toBe(1);
    expect(() => queue.poll()).toThrow(/read of 0x999000: not mapped/);
    lease.start();
    await queue.reset();
    lease.stop();
    lease.bus.frameOf(mqdma.queueRegion, 4096).u32.fill(0xffffffff);
    expect(() => queue.poll()).toThrow(/revoked/);
  });

  it('sees a broken doorbell as a stopped queue', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease);
    lease.bus.frameOf(mqdma.queueRegion, 0).u32[queuePageWord.TAIL] = 100_000;
    lease.device.step();
    expect(() => queue.poll()).toThrow(/TAIL/);
  });
});

describe('create', () => {
  it.each([0, 1, 3, 8192, 2.5])('refuses %s entries', async (entries) => {
    const lease = setUp();
    expect((await failure(Queue.create(lease, { entries }))).code).toBe('INVALID_ARGUMENT');
    expect(lease.liveAllocations).toBe(0);
  });

  it('gives memory back when the rings are refused', async () => {
    const lease = setUp();
    lease.closed = true;
    expect((await failure(Queue.create(lease))).code).toBe('LEASE_REVOKED');
    expect(lease.liveAllocations).toBe(0);
  });

  it('takes the largest ring and fills it', async () => {
    const lease = setUp();
    const queue = await Queue.create(lease, { entries: mqdma.ringEntriesMax });
    const all = Array.from({ length: mqdma.ringEntriesMax }, () => queue.nop());
    await Promise.all(all);
    expect(queue.outstanding).toBe(0);
    expect(opcode.NOP).toBe(1);
  });
});
