// Refused DMA: bounds to the byte, who is stopped, what is told; and injected faults.
import { describe, expect, it } from 'vitest';
import { faultReasons } from '../../iommu/types.js';
import { TestBus } from '../testing/test-bus.js';
import { type DescriptorFields, settle, TestHolder } from '../testing/test-holder.js';
import {
  accessCode,
  completionStatus,
  control,
  isolationBit,
  mqdma,
  opcode,
  queueControl,
  queuePageWord,
  queueStatus,
  ringState,
  statusPageWord,
} from './datasheet.js';
import { MqdmaDevice } from './device.js';

const base = 0x10_0000_0000;
const lengthBytes = 0x40_0000;
const end = base + lengthBytes;

function reasonName(code: number): string | undefined {
  return faultReasons[code - 1];
}

function setUp(bounded = true, faultInjection = true) {
  const bus = new TestBus();
  const device = new MqdmaDevice({ queueCount: 3, faultInjection });
  device.attach(bus);
  const bounds = { base, lengthBytes };
  const holder = new TestHolder(device, bus, 0, {
    ringIova: base,
    ...(bounded ? { bounds } : {}),
  });
  return { bus, device, holder };
}

function recordOf(holder: TestHolder) {
  const page = holder.statusPage;
  const { FAULT_ACCESS, FAULT_REASON, FAULT_IOVA_LOW, FAULT_IOVA_HIGH } = statusPageWord;
  expect(holder.readControl(queueControl.FAULT_IOVA_LOW)).toBe(page[FAULT_IOVA_LOW]);
  expect(holder.readControl(queueControl.FAULT_IOVA_HIGH)).toBe(page[FAULT_IOVA_HIGH]);
  expect(holder.readControl(queueControl.FAULT_REASON)).toBe(page[FAULT_REASON]);
  return {
    iova: (BigInt(page[FAULT_IOVA_HIGH]!) << 32n) | BigInt(page[FAULT_IOVA_LOW]!),
    access: page[FAULT_ACCESS] === accessCode.WRITE ? 'write' : 'read',
    reason: reasonName(page[FAULT_REASON]!),
  };
}

describe('bounds', () => {
  const fill = (destination: number | bigint, length: number): DescriptorFields => {
    return { opcode: opcode.FILL, destination, length };
  };
  const data = end - 8192;

  it.each([
    ['the last byte', fill(end - 1, 1)],
    ['the last page', fill(end - 4096, 4096)],
    ['nothing at all, anywhere', fill(0xffff_ffff_ffff_ffffn, 0)],
  ])('let through %s', (_, fields) => {
    const { bus, holder } = setUp();
    bus.map(undefined, data, 8192);
    holder.connect();
    expect(holder.run(fields)?.status).toBe(completionStatus.OK);
  });

  it.each<[string, DescriptorFields, bigint, string]>([
    ['one byte past', fill(end, 1), BigInt(end), 'write'],
    ['the last byte and one more', fill(end - 1, 2), BigInt(end - 1), 'write'],
    ['one byte before', fill(base - 1, 1), BigInt(base - 1), 'write'],
    ['around the end of the address space', fill(2n ** 64n - 1n, 2), 2n ** 64n - 1n, 'write'],
    ['2^48', fill(2n ** 48n, 1), 2n ** 48n, 'write'],
    ['just below 2^48 and over it', fill(2n ** 48n - 1n, 2), 2n ** 48n - 1n, 'write'],
    ['high bits that a double would drop', fill(2n ** 63n + 1n, 1), 2n ** 63n + 1n, 'write'],
    [
      'a source outside',
      { opcode: opcode.COPY, source: 0x5000, destination: data, length: 8 },
      0x5000n,
      'read',
    ],
    [
      'a second operand of compare',
      { opcode: opcode.COMPARE, source: data, destination: 0x5000, length: 8 },
      0x5000n,
      'read',
    ],
    ['a crc', { opcode: opcode.CRC32C, source: end - 4, length: 8 }, BigInt(end - 4), 'read'],
  ])('refuse %s, before a byte moves', (_, fields, iova, access) => {
    const { bus, holder } = setUp();
    for (const at of [data, end]) bus.map(undefined, at, 8192);
    for (const at of [base - 4096, 0x5000]) bus.map(undefined, at, 4096);
    holder.connect();
    holder.run({});
    const before = bus.u8.slice();
    const done = holder.run({ ...fields, tag: 4 });
    expect(done).toMatchObject({ tag: 4, status: completionStatus.FAULT });
    expect(recordOf(holder)).toEqual({ iova, access, reason: 'out of bounds' });
    bus.u8.fill(0, holder.descriptorsAt, holder.descriptorsAt + 4096);
    before.fill(0, holder.descriptorsAt, holder.descriptorsAt + 4096);
    bus.u8.fill(0, holder.completionsAt, holder.completionsAt + 4096);
    before.fill(0, holder.completionsAt, holder.completionsAt + 4096);
    expect(Buffer.compare(bus.u8, before)).toBe(0);
  });

  it.each(['DESCRIPTORS', 'COMPLETIONS'] as const)('hold for the %s ring', (ring) => {
    const { bus, device, holder } = setUp();
    bus.map(undefined, end - 4096, 8192);
    holder.connect();
    const bytes = holder.entries * (ring === 'DESCRIPTORS' ? 64 : 16);
    // Ends 64 bytes past the bounds.
    const at = end - bytes + 64;
    holder.page[queuePageWord[`${ring}_LOW`]] = at >>> 0;
    holder.page[queuePageWord[`${ring}_HIGH`]] = Math.floor(at / 2 ** 32);
    settle(device);
    expect(holder.state).toBe(ringState.FAULTED);
    const access = ring === 'DESCRIPTORS' ? 'read' : 'write';
    expect(recordOf(holder)).toEqual({ iova: BigInt(at), access, reason: 'out of bounds' });
  });

  it.each([
    [0, 'a length of 0'],
    [2 ** 64 - 1, 'a length that wraps'],
  ])('of length %i (%s) never let the rings out', (length) => {
    const { bus, device, holder } = setUp();
    holder.control(queueControl.ENABLE, 0);
    holder.control(queueControl.DMA_LENGTH_LOW, length === 0 ? 0 : 0xffff_ffff);
    holder.control(queueControl.DMA_LENGTH_HIGH, length === 0 ? 0 : 0xffff_ffff);
    holder.control(queueControl.ENABLE, 1);
    bus.map(undefined, 0, 4096);
    holder.connect();
    settle(device);
    if (length === 0) expect(holder.state).toBe(ringState.FAULTED);
    else expect(holder.run(fill(0, 1))?.status).toBe(completionStatus.FAULT);
  });

  it('can be written only while disabled and idle', () => {
    const { holder } = setUp();
    const registers = ['DMA_BASE_LOW', 'DMA_LENGTH_HIGH', 'PASID', 'ISOLATION'] as const;
    const before = registers.map((name) => holder.readControl(queueControl[name]));
    for (const name of registers) holder.control(queueControl[name], 3);
    expect(registers.map((name) => holder.readControl(queueControl[name]))).toEqual(before);
    holder.control(queueControl.INJECT_NEVER_IDLE, 1);
    holder.control(queueControl.ENABLE, 0);
    for (const name of registers) holder.control(queueControl[name], 3);
    expect(registers.map((name) => holder.readControl(queueControl[name]))).toEqual(before);
    holder.control(queueControl.INJECT_NEVER_IDLE, 0);
    for (const name of registers) holder.control(queueControl[name], 3);
    expect(registers.map((name) => holder.readControl(queueControl[name]))).toEqual([3, 3, 3, 3]);
  });
});

describe('a fault', () => {
  it('stops its own queue and no other', () => {
    const { bus, device, holder } = setUp(false);
    const other = new TestHolder(device, bus, 1, { ringIova: 0x20_0000_0000 });
    other.connect();
    holder.connect();
    settle(device);
    holder.put({ opcode: opcode.FILL, destination: 0x7000_0000, length: 1, tag: 1 });
    holder.put({ tag: 2 });
    holder.ring();
    for (let tag = 0; tag < 40; tag++) expect(other.run({ tag })?.tag).toBe(tag);
    expect(holder.reap()).toMatchObject([{ tag: 1, status: completionStatus.FAULT }]);
    expect(holder.state).toBe(ringState.FAULTED);
    expect(other.state).toBe(ringState.CONNECTED);
    const bits = queueStatus.IDLE | queueStatus.ENABLED | queueStatus.CONNECTED;
    expect(holder.readControl(queueControl.STATUS)).toBe(bits | queueStatus.FAULTED);
  });

  it('is pending, and fires the error vector, until somebody takes it', () => {
    const { bus, holder } = setUp(false);
    holder.connect();
    holder.run({ opcode: opcode.FILL, destination: 0x7000_0000, length: 1 });
    expect(holder.header('FAULT_PENDING')).toBe(1);
    expect(bus.interrupts).toEqual([holder.header('ERROR_VECTOR')]);
    holder.device.write(0, control.FAULT_PENDING, 4, 0xfffffffe);
    expect(holder.header('FAULT_PENDING')).toBe(1);
    holder.device.write(0, control.FAULT_PENDING, 4, 1);
    expect(holder.header('FAULT_PENDING')).toBe(0);
  });

  it('wakes a holder that armed its interrupt', () => {
    const { bus, device, holder } = setUp(false);
    holder.connect();
    settle(device);
    bus.unmap(undefined, holder.completionsIova, 4096);
    holder.page[queuePageWord.ARM] = 1;
    holder.submit({});
    settle(device);
    expect(bus.interrupts).toEqual([holder.header('ERROR_VECTOR'), 0]);
    expect(recordOf(holder).access).toBe('write');
  });

  it('is over after 1 to 0 and 0 to 1', () => {
    const { holder, device } = setUp(false);
    holder.connect();
    holder.run({ opcode: opcode.FILL, destination: 0x7000_0000, length: 1 });
    holder.disconnect();
    settle(device);
    holder.connect();
    expect(holder.run({ tag: 8 })?.tag).toBe(8);
    expect(holder.readControl(queueControl.FAULT_COUNT)).toBe(1);
  });

  it('in the middle leaves what came before, and says where it was', () => {
    const { bus, holder } = setUp(false);
    const at = bus.map(undefined, 0x7000_0000, 4096);
    holder.connect();
    holder.run({ opcode: opcode.FILL, destination: 0x7000_0f00, length: 4096, pattern: 1n });
    expect(recordOf(holder).iova).toBe(0x7000_1000n);
    expect(bus.u8[at + 4088]).toBe(1);
  });

  it('names no permission', () => {
    const { bus, holder } = setUp(false);
    bus.map(undefined, 0x7000_0000, 4096, 'read');
    holder.connect();
    holder.run({ opcode: opcode.FILL, destination: 0x7000_0000, length: 1 });
    expect(recordOf(holder).reason).toBe('no permission');
  });

  it('comes of memory that vanished during the transfer', () => {
    const { bus, device, holder } = setUp(false);
    bus.map(undefined, 0x7000_0000, 8192);
    holder.connect();
    settle(device);
    const translate = bus.translate.bind(bus);
    bus.translate = (pasid, iova, access) => {
      if (iova >= 0x7000_1000 && iova < 0x7000_2000) bus.faults++;
      return translate(pasid, iova, access);
    };
    const done = holder.run({ opcode: opcode.CRC32C, source: 0x7000_0000, length: 8192 });
    expect(done?.status).toBe(completionStatus.FAULT);
    expect(recordOf(holder)).toEqual({ iova: 0x7000_1000n, access: 'read', reason: 'memory gone' });
  });
});

describe('injection', () => {
  it('does not exist unless the device was made with it', () => {
    const { device, holder } = setUp(false, false);
    holder.control(queueControl.INJECT_NEVER_IDLE, 1);
    holder.control(queueControl.INJECT_DMA_DELAY_MS, 9);
    device.write(0, control.INJECT_DEAD, 4, 2);
    expect(holder.readControl(queueControl.INJECT_DMA_DELAY_MS)).toBe(0);
    expect(holder.readControl(queueControl.STATUS) & queueStatus.IDLE).toBe(queueStatus.IDLE);
    expect(holder.header('CAPABILITIES') & 4).toBe(0);
  });

  it('of late DMA: it lands when due, whatever happened to the queue', () => {
    const { bus, device, holder } = setUp(false);
    const at = bus.map(undefined, 0x7000_0000, 4096);
    holder.connect();
    settle(device);
    holder.control(queueControl.INJECT_DMA_DELAY_MS, 50);
    holder.submit({ opcode: opcode.FILL, destination: 0x7000_0000, length: 64, pattern: 0x0101n });
    settle(device);
    expect(device.step()).toBe('waiting');
    expect(bus.wakeAtMs).toBe(bus.now + 50);
    holder.control(queueControl.ENABLE, 0);
    holder.control(queueControl.RESET, 1);
    expect(holder.readControl(queueControl.STATUS)).toBe(0);
    bus.now += 49;
    settle(device);
    expect(bus.u8[at]).toBe(0);
    bus.now += 1;
    settle(device);
    expect(bus.u8[at]).toBe(1);
    expect(holder.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    expect(holder.reap()).toEqual([]);
  });

  it('of late DMA that finds its memory gone: reported to the driver, not to the next holder', () => {
    const { bus, device, holder } = setUp(false);
    bus.map(undefined, 0x7000_0000, 4096);
    holder.connect();
    settle(device);
    holder.control(queueControl.INJECT_DMA_DELAY_MS, 5);
    holder.submit({ opcode: opcode.FILL, destination: 0x7000_0000, length: 64 });
    settle(device);
    holder.control(queueControl.RESET, 1);
    bus.unmap(undefined, 0x7000_0000, 4096);
    holder.control(queueControl.INJECT_DMA_DELAY_MS, 0);
    holder.control(queueControl.ENABLE, 1);
    bus.now += 5;
    settle(device);
    expect(holder.header('FAULT_PENDING')).toBe(1);
    expect(holder.state).toBe(ringState.DISCONNECTED);
    expect(holder.statusPage[statusPageWord.FAULT_COUNT]).toBe(0);
    holder.connect();
    expect(holder.run({ tag: 2 })?.tag).toBe(2);
  });

  it('of lost interrupts: as many as said', () => {
    const { bus, holder } = setUp(false);
    holder.connect();
    holder.control(queueControl.INJECT_LOST_INTERRUPTS, 2);
    for (let ticket = 1; ticket <= 4; ticket++) {
      holder.page[queuePageWord.ARM] = ticket;
      holder.run({});
    }
    expect(bus.interrupts).toEqual([0, 0]);
  });

  it('of death: all ones, nothing happens, until a reset; or for good', () => {
    const { device, holder } = setUp(false);
    holder.connect();
    settle(device);
    device.write(mqdma.controlRegion, control.INJECT_DEAD, 4, 1);
    holder.submit({});
    expect(device.step()).toBe('idle');
    expect(device.prepareSleep()).toBe(true);
    for (const region of [0, 2, 4]) expect(device.read(region, 0, 4)).toBe(0xffff_ffff);
    expect(device.read(0, 0, 8)).toBe(0xffff_ffff_ffff_ffffn);
    device.reset();
    expect(holder.header('ID')).toBe(mqdma.id);
    device.write(0, control.INJECT_DEAD, 4, 2);
    device.reset();
    expect(holder.header('ID')).toBe(0xffff_ffff);
  });

  it('reset of the function calls late DMA back and clears everything', () => {
    const { bus, device, holder } = setUp();
    const at = bus.map(undefined, end - 4096, 4096);
    holder.connect();
    settle(device);
    holder.control(queueControl.INJECT_DMA_DELAY_MS, 5);
    holder.submit({ opcode: opcode.FILL, destination: end - 4096, length: 64, pattern: 0x0101n });
    settle(device);
    device.reset();
    bus.now += 100;
    expect(settle(device)).toBe(0);
    expect(bus.u8[at]).toBe(0);
    expect(holder.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    expect(holder.readControl(queueControl.ISOLATION)).toBe(0);
    expect(holder.readControl(queueControl.DMA_LENGTH_LOW)).toBe(0);
    expect(holder.page[queuePageWord.RING_CONTROL]).toBe(0);
    expect(isolationBit.BOUNDS).toBe(2);
  });
});
