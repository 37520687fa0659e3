// What counts as moved.
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryOs } from '../../../src/os/memory.js';
import { loadNative } from '../../../src/os/native.js';
import { deviceBytes, MatrixMemory, transferBytes } from './matrix-memory.js';

const memory = new MatrixMemory(createMemoryOs(loadNative()));
const at = 64;
const half = transferBytes / 2;

beforeEach(() => memory.fill());
afterAll(() => memory[Symbol.dispose]());

describe('a read moved', () => {
  const read = (bytes: Uint8Array) => memory.movedBy('read', bytes, at);
  const target = () => memory.page('target').slice(0, transferBytes);

  it('all, other memory, or nothing', () => {
    expect(read(target())).toBe('all');
    expect(read(memory.page('other').slice(0, transferBytes))).toBe('other memory');
    expect(read(deviceBytes())).toBe('nothing');
    expect(read(new Uint8Array(transferBytes))).toBe('nothing');
  });

  it('up to the hole, or a part that it should not', () => {
    const bytes = target();
    bytes.fill(0, half);
    expect(read(bytes)).toBe('up to the hole');
    expect(read(target().fill(0, half + 1))).toBe('something else');
    expect(read(target().fill(0, 0, half))).toBe('something else');
    expect(read(target().fill(0, 1))).toBe('something else');
  });
});

describe('a write moved', () => {
  const write = () => memory.movedBy('write', deviceBytes(), at);
  const put = (page: 'target' | 'other', offset: number, bytes = deviceBytes()) =>
    memory.page(page).set(bytes, offset);

  it('all, other memory, or nothing', () => {
    expect(write()).toBe('nothing');
    put('target', at);
    expect(write()).toBe('all');
    memory.fill();
    put('other', at);
    expect(write()).toBe('other memory');
  });

  it('up to the hole, or where and what it should not', () => {
    put('target', at, deviceBytes().subarray(0, half));
    expect(write()).toBe('up to the hole');
    put('other', at);
    expect(write()).toBe('something else');
    memory.fill();
    put('target', at + 1);
    expect(write()).toBe('something else');
    memory.fill();
    put('target', at, new Uint8Array(transferBytes));
    expect(write()).toBe('something else');
  });
});
