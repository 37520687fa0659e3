// Every descriptor does what the datasheet says, at every alignment and across pages.
import { describe, expect, it } from 'vitest';
import { TestBus } from '../testing/test-bus.js';
import { type DescriptorFields, settle, TestHolder } from '../testing/test-holder.js';
import { crc32c } from './crc32c.js';
import { completionStatus, descriptorFlag, mqdma, opcode, ringState } from './datasheet.js';
import { MqdmaDevice } from './device.js';

const source = 0x10_0000_0000;
const destination = 0x20_0000_0000;
const dataBytes = 64 * 1024;

function setUp(pasid?: number) {
  const bus = new TestBus();
  const device = new MqdmaDevice({ queueCount: 2 });
  device.attach(bus);
  const holder = new TestHolder(device, bus, 0, pasid === undefined ? {} : { pasid });
  const sourceAt = bus.map(pasid, source, dataBytes);
  const destinationAt = bus.map(pasid, destination, dataBytes);
  for (let index = 0; index < dataBytes; index++) {
    bus.u8[sourceAt + index] = (index * 31 + (index >> 8)) & 0xff;
  }
  holder.connect();
  settle(device);
  return { bus, device, holder, sourceAt, destinationAt };
}

/** The definition, bit by bit. */
function slowCrc(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78);
  }
  return ~crc >>> 0;
}

describe('crc32c', () => {
  it('knows the check value', () => {
    const u8 = new Uint8Array(16);
    u8.set(new TextEncoder().encode('123456789'));
    expect(crc32c(0, u8, new Uint32Array(u8.buffer), 0, 9)).toBe(0xe3069283);
  });

  it('agrees with the definition at every alignment and short length, and continues', () => {
    const u8 = Uint8Array.from({ length: 256 }, (_, index) => (index * 167) & 0xff);
    const u32 = new Uint32Array(u8.buffer);
    for (let at = 0; at < 12; at++) {
      for (let length = 0; length < 40; length++) {
        const bytes = u8.subarray(at, at + length);
        expect(crc32c(0, u8, u32, at, length)).toBe(slowCrc(bytes));
        const half = length >> 1;
        const first = crc32c(0, u8, u32, at, half);
        expect(crc32c(first, u8, u32, at + half, length - half)).toBe(slowCrc(bytes));
      }
    }
  });
});

describe('descriptors', () => {
  const shapes = [
    [0, 0, 1],
    [0, 0, 4096],
    [1, 3, 5000],
    [4095, 1, 2],
    [4090, 4092, 9000],
    [0, 2048, 40_000],
    [3, 3, 0],
  ] as const;

  it.each(shapes)('copy from +%i to +%i, %i bytes', (from, to, length) => {
    const { bus, holder, sourceAt, destinationAt } = setUp();
    bus.u8.fill(0xee, destinationAt, destinationAt + dataBytes);
    const done = holder.run({
      opcode: opcode.COPY,
      tag: 77,
      length,
      source: source + from,
      destination: destination + to,
    });
    expect(done).toEqual({ tag: 77, result: 0, fetched: 1, status: completionStatus.OK });
    const want = new Uint8Array(dataBytes).fill(0xee);
    want.set(bus.u8.subarray(sourceAt + from, sourceAt + from + length), to);
    expect(Buffer.compare(bus.u8.subarray(destinationAt, destinationAt + dataBytes), want)).toBe(0);
  });

  it.each([
    [0, 4096, 0x0101010101010101n],
    [5, 9000, 0x8877665544332211n],
    [4095, 3, 0xaabbccddn],
    [2, 100, 0n],
  ] as const)('fill at +%i, %i bytes', (to, length, pattern) => {
    const { bus, holder, destinationAt } = setUp();
    const done = holder.run({
      opcode: opcode.FILL,
      length,
      destination: destination + to,
      pattern,
    });
    expect(done?.status).toBe(completionStatus.OK);
    const want = new Uint8Array(dataBytes);
    for (let index = 0; index < length; index++) {
      want[to + index] = Number((pattern >> BigInt((index % 8) * 8)) & 0xffn);
    }
    expect(Buffer.compare(bus.u8.subarray(destinationAt, destinationAt + dataBytes), want)).toBe(0);
  });

  it.each([
    [0, 0],
    [1, 0],
    [2, 7],
    [3, 3],
  ])('compare, aligned +%i and +%i, finds the first difference', (from, to) => {
    const { bus, holder, sourceAt, destinationAt } = setUp();
    const length = 20_000;
    bus.u8.copyWithin(destinationAt + to, sourceAt + from, sourceAt + from + length);
    const fields = {
      opcode: opcode.COMPARE,
      length,
      source: source + from,
      destination: destination + to,
    };
    expect(holder.run(fields)).toMatchObject({ status: completionStatus.OK, result: 0 });
    for (const at of [length - 1, 12_289, 4096, 1, 0]) {
      bus.u8[destinationAt + to + at]! ^= 0x40;
      expect(holder.run(fields)).toMatchObject({ status: completionStatus.DIFFERENT, result: at });
    }
  });

  it.each([
    [0, 9, 0],
    [1, 20_000, 0],
    [4093, 4099, 0x12345678],
  ])('crc32c from +%i, %i bytes, seed %i', (from, length, seed) => {
    const { bus, holder, sourceAt } = setUp();
    const done = holder.run({ opcode: opcode.CRC32C, length, source: source + from, seed });
    const bytes = bus.u8.subarray(sourceAt + from, sourceAt + from + length);
    expect(done).toMatchObject({ status: completionStatus.OK, result: slowCrc(bytes, seed) });
  });

  const invalid: [string, DescriptorFields][] = [
    ['opcode 0', { opcode: 0 }],
    ['unknown opcode', { opcode: 6 }],
    ['opcode 255', { opcode: 255 }],
    ['unknown flag', { flags: 1 << 9 }],
    ['nop with a length', { length: 1 }],
    ['PASID without its flag', { pasid: 5 }],
    ['length over the limit', { opcode: opcode.FILL, length: mqdma.transferBytesMax + 1 }],
    ['fill with a source', { opcode: opcode.FILL, source: 1 }],
    ['copy with a seed', { opcode: opcode.COPY, seed: 1 }],
    ['crc32c with a destination', { opcode: opcode.CRC32C, destination: 1n << 40n }],
  ];
  it.each(invalid)('%s is invalid, and the queue goes on', (_, fields) => {
    const { holder } = setUp();
    expect(holder.run({ ...fields, tag: 9 })).toMatchObject({
      status: completionStatus.INVALID,
      tag: 9,
    });
    expect(holder.run({ tag: 10 })).toMatchObject({ status: completionStatus.OK, tag: 10 });
    expect(holder.state).toBe(ringState.CONNECTED);
  });

  it('every reserved word must be 0', () => {
    const { device, holder } = setUp();
    for (let word = 3; word < 16; word++) {
      const words = new Uint32Array(16);
      words[0] = opcode.NOP;
      words[word] = 0x8000_0000;
      holder.putWords(words);
      holder.ring();
      settle(device);
      expect(holder.reap()).toMatchObject([{ status: completionStatus.INVALID }]);
    }
  });

  it('the longest length is accepted and starts', () => {
    const { holder } = setUp();
    const done = holder.run({
      opcode: opcode.FILL,
      length: mqdma.transferBytesMax,
      destination,
    });
    // Only the start of it is mapped: it runs up to there.
    expect(done?.status).toBe(completionStatus.FAULT);
    expect(holder.statusPage[8]).toBe((destination + dataBytes) % 2 ** 32);
  });

  it('a PASID tag must be that of the queue', () => {
    const { holder } = setUp(7);
    const flags = descriptorFlag.PASID_TAG;
    expect(holder.run({ flags, pasid: 7 })?.status).toBe(completionStatus.OK);
    expect(holder.run({ flags, pasid: 8 })?.status).toBe(completionStatus.FAULT);
    expect(holder.state).toBe(ringState.FAULTED);
  });

  it('a PASID tag on a queue without PASID is wrong', () => {
    const { holder } = setUp();
    const flags = descriptorFlag.PASID_TAG;
    expect(holder.run({ flags, pasid: 0 })?.status).toBe(completionStatus.FAULT);
  });
});
