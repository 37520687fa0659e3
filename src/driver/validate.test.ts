// What a driver may offer, at each limit and one past it.
import { describe, expect, it } from 'vitest';
import { limits } from '../base/limits.js';
import type { FunctionInfo } from '../function/types.js';
import type { Slice, WindowSpec } from './types.js';
import { validateSlices } from './validate.js';

const info = {
  regions: [
    { index: 0, lengthBytes: 0x10000, mappable: false },
    { index: 2, lengthBytes: 0x400_0000, mappable: true },
    ...[1, 3, 4, 5].map((index) => ({ index, lengthBytes: 0x10000, mappable: true })),
  ],
  reserved: [{ region: 4, offsetBytes: 0x1000, lengthBytes: 64 }],
  vectorCount: 8,
  iovaPageBytes: 4096,
} as unknown as FunctionInfo;

function window(over: Partial<WindowSpec> = {}): WindowSpec {
  return {
    name: 'w',
    region: 2,
    offsetBytes: 0,
    lengthBytes: 4096,
    access: 'read-write',
    mappable: true,
    ...over,
  };
}

function slice(windows: readonly WindowSpec[], over: Partial<Slice> = {}): Slice {
  return { name: 's', kind: 'k', windows, vectors: [], ...over } as Slice;
}

function check(...slices: Slice[]): () => void {
  return () => validateSlices(info, slices);
}

const refused = expect.objectContaining({ code: 'DRIVER_INVALID' });

/** `count` windows side by side, of one writable BAR. */
function many(count: number, name = ''): WindowSpec[] {
  return Array.from({ length: count }, (_, at) =>
    window({ name: `${name}${String.fromCharCode(97 + at)}`, offsetBytes: at * 4096 }),
  );
}

describe('validateSlices', () => {
  it('takes what is in order', () => {
    expect(check(slice([window()], { vectors: [0, 1] }))).not.toThrow();
  });

  it.each([
    ['no slice', []],
    ['two slices of one name', [slice([]), slice([])]],
    ['a slice without a name', [slice([], { name: '' })]],
    ['a vector too many', [slice([], { vectors: [8] })]],
    ['half a vector', [slice([], { vectors: [0.5] })]],
    ['one vector twice', [slice([], { vectors: [1] }), slice([], { name: 't', vectors: [1] })]],
    ['two windows of one name', [slice([window(), window({ offsetBytes: 4096 })])]],
  ])('refuses %s', (_, slices) => {
    expect(() => validateSlices(info, slices)).toThrow(refused);
  });

  it('takes the last vector and the longest name', () => {
    const name = 'n'.repeat(limits.windowNameBytesMax);
    expect(check(slice([window({ name })], { vectors: [7] }))).not.toThrow();
    expect(check(slice([window({ name: `${name}n` })]))).toThrow(refused);
    expect(check(slice([window({ name: '' })]))).toThrow(refused);
    expect(check(slice([window({ name: 'ä' })]))).toThrow(refused);
    expect(check(slice([window({ name: 'a b' })]))).toThrow(refused);
  });

  it.each<[string, Partial<WindowSpec>]>([
    ['a region that is not there', { region: 6 }],
    ['a negative offset', { offsetBytes: -4096 }],
    ['no length', { lengthBytes: 0 }],
    ['a fraction', { offsetBytes: 0.5 }],
    ['the end of the region', { offsetBytes: 0x3ff_f000, lengthBytes: 0x2000 }],
    ['a page by half', { offsetBytes: 2048 }],
    ['a length by half', { lengthBytes: 2048 }],
    ['odd bytes, mediated', { offsetBytes: 4, mappable: false }],
    ['a region that cannot be mapped', { region: 0 }],
    ['too much', { lengthBytes: limits.windowBytesMax + 4096 }],
    ['the MSI-X table', { region: 4, offsetBytes: 0x1000 }],
    [
      'the MSI-X table by one byte',
      { region: 4, offsetBytes: 0x1038, lengthBytes: 8, mappable: false },
    ],
    ['a doorbell outside', { doorbells: [{ offsetBytes: 4093, lengthBytes: 4 }] }],
  ])('refuses a window over %s', (_, over) => {
    expect(check(slice([window(over)]))).toThrow(refused);
  });

  it.each<[string, Partial<WindowSpec>]>([
    [
      'right behind the MSI-X table',
      { region: 4, offsetBytes: 0x1040, lengthBytes: 8, mappable: false },
    ],
    ['half a page, mediated', { lengthBytes: 2048, mappable: false }],
    ['in a region that cannot be mapped, mediated', { region: 0, mappable: false }],
    ['as long as can be', { lengthBytes: limits.windowBytesMax }],
    ['with a doorbell at its end', { doorbells: [{ offsetBytes: 4092, lengthBytes: 4 }] }],
  ])('takes a window %s', (_, over) => {
    expect(check(slice([window(over)]))).not.toThrow();
  });

  it('refuses a page that is smaller than the host’s', () => {
    expect(() => validateSlices(info, [slice([window()])], [], 65_536)).toThrow(refused);
    const large = window({ lengthBytes: 65_536 });
    expect(() => validateSlices(info, [slice([large])], [], 65_536)).not.toThrow();
  });

  it('refuses the driver’s own control registers', () => {
    const reserved = [{ region: 2, offsetBytes: 0x2000, lengthBytes: 4 }];
    const over = slice([window({ offsetBytes: 0x2000 })]);
    expect(() => validateSlices(info, [over], reserved)).toThrow(refused);
    expect(() => validateSlices(info, [slice([window()])], reserved)).not.toThrow();
  });

  it('refuses windows that overlap, in one slice or two, in any order', () => {
    const wide = window({ name: 'wide', lengthBytes: 0x4000 });
    const inside = window({ name: 'inside', offsetBytes: 0x2000 });
    const behind = window({ name: 'behind', offsetBytes: 0x4000 });
    expect(check(slice([inside, wide]))).toThrow(refused);
    expect(check(slice([behind, inside]), slice([wide], { name: 't' }))).toThrow(refused);
    expect(check(slice([behind]), slice([wide], { name: 't' }))).not.toThrow();
  });

  it('counts BARs: one a region for writable, one each for read-only, one for MSI-X', () => {
    const readOnly = (count: number): WindowSpec[] =>
      many(count).map((spec, at) => ({
        ...spec,
        name: `r${at}`,
        access: 'read',
        offsetBytes: 0x100000 + at * 4096,
      }));
    expect(check(slice([...many(3), ...readOnly(5)]))).not.toThrow();
    expect(check(slice([...many(3), ...readOnly(5)], { vectors: [0] }))).toThrow(refused);
    expect(check(slice([...many(3), ...readOnly(6)]))).toThrow(refused);
    const combining = many(1).map((spec, at) => ({
      ...spec,
      name: `c${at}`,
      memory: 'write-combining' as const,
      offsetBytes: 0x200000 + at * 4096,
    }));
    expect(check(slice([...many(3), ...combining, ...readOnly(4)]))).not.toThrow();
    expect(check(slice([...many(3), ...combining, ...readOnly(5)]))).toThrow(refused);
  });

  it('refuses memory that there is none of', () => {
    const memory = 'cached' as 'device';
    expect(check(slice([window({ memory })]))).toThrow(refused);
  });

  it('counts the bytes of the window list', () => {
    // 7 for its head; 12 for each window with a name of one byte.
    const most = Math.floor((limits.windowListBytesMax - 7) / 12);
    expect(check(slice(many(most)))).not.toThrow();
    expect(check(slice(many(most + 1)))).toThrow(refused);
    expect(check(slice(many(limits.windowsPerSliceMax + 1)))).toThrow(/windows; at most/);
  });
});
