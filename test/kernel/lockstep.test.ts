import { describe, expect, test } from 'vitest';
import type { Call } from './call.js';
import { Lockstep } from './lockstep.js';
import { at, dataAt, WorldMemory } from './memory.js';
import type { Outcome, Side } from './side.js';

const memory = new WorldMemory();

/** A side whose every call does the same. */
function side(name: string, ioctl: (argument: number) => Outcome): Side {
  const none = () => ({ result: 0 });
  return {
    name,
    context: 50,
    openDevice: () => ({ result: 0, descriptor: name === 'one' ? 60 : 61 }),
    deviceIoctl: (descriptor) => ({ result: descriptor === (name === 'one' ? 60 : 61) ? 0 : -9 }),
    ioctl: (_request, argument) => ioctl(argument),
    read: none,
    write: none,
    adopt() {},
    closeDescriptor() {},
    close() {},
  };
}

const call: Call = {
  name: 'a call',
  request: 1,
  argument: new Uint8Array(16).fill(7),
  place: 'plain',
  data: [{ offset: 8, bytes: Uint8Array.of(1, 2, 3) }],
  descriptors: [],
  text: '',
};

function compare(one: (argument: number) => Outcome, other: (argument: number) => Outcome) {
  return (made: Partial<Call> = {}) => {
    return new Lockstep(memory, side('one', one), side('other', other)).run({ ...call, ...made });
  };
}

const succeed = () => ({ result: 0 });
const refuse = () => ({ result: -22 });

function write(offsetBytes: number, value: number) {
  return () => {
    memory.bytes[offsetBytes] = value;
    return { result: 0 };
  };
}

describe('a call on both sides', () => {
  test('is alike when both say the same', () => {
    expect(compare(succeed, succeed)().difference).toBeUndefined();
    expect(compare(refuse, refuse)()).toMatchObject({ one: 'EINVAL', other: 'EINVAL' });
  });

  test('differs by its errno', () => {
    expect(compare(succeed, refuse)().difference).toBe('the result');
  });

  test('differs by a byte written into the structure, or where it points', () => {
    const inStruct = compare(write(4, 9), succeed)();
    expect(inStruct.difference).toContain('written back');
    expect(compare(succeed, write(dataAt + 3 * 4096 - 1, 9))().difference).toContain('written');
    expect(compare(write(dataAt, 9), write(dataAt, 9))().difference).toBeUndefined();
  });

  test('starts from the same memory on both', () => {
    const seen: string[] = [];
    const look = () => {
      seen.push(memory.scratch.toString('hex'));
      memory.scratch.fill(0xee);
      return { result: 0 };
    };
    compare(look, look)();
    expect(seen[0]).toBe(seen[1]);
    expect(memory.bytes.subarray(dataAt + 8, dataAt + 11)).toEqual(Buffer.alloc(3, 0xee));
  });

  test('is told of a structure where its place says', () => {
    const given: number[] = [];
    const remember = (argument: number) => {
      given.push(argument - memory.base);
      return { result: 0 };
    };
    const run = compare(remember, succeed);
    for (const place of ['plain', 'before-hole', 'read-only', 'hole'] as const) run({ place });
    expect(given).toEqual([at.scratch, at.scratch + 4 * 4096 - 16, at.readOnlyScratch, at.hole]);
  });

  test('may return a descriptor of another number on each side', () => {
    const give = (number: number) => () => {
      memory.scratch.writeInt32LE(number, 12);
      return { result: 0 };
    };
    const step = compare(give(30), give(40))({ descriptorAt: 12 });
    expect(step.difference).toBeUndefined();
    expect(step.done.key).toBe(0);
    expect(compare(give(30), succeed)({ descriptorAt: 8 }).difference).toContain('written');
  });
});

test('what both sides see is the memory of this process', () => {
  expect(memory.at(BigInt(memory.address(at.hole)), 1)).toBeUndefined();
  expect(memory.at(BigInt(memory.address(at.pool)), 4)?.readUInt32LE()).toBe(0x10001);
  const again = memory.at(BigInt(memory.address(at.readOnlyPool + 2048)), 4);
  expect(again?.readUInt32LE()).toBe(2 * 0x10001);
  expect(memory.at(BigInt(memory.address(at.readOnlyPool + 0xf_ffff)), 2)).toBeUndefined();
});
