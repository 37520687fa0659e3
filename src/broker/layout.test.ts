import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { decodeWindowCapability } from '../device/window-capability.js';
import type { WindowSpec } from '../driver/types.js';
import { layoutOf, msixTableBytes, resolveAccess, windowsOf } from './layout.js';

const page = 4096;

function window(name: string, region: number, pages: number, changed: Partial<WindowSpec> = {}) {
  const spec: WindowSpec = {
    name,
    region,
    offsetBytes: 0x8000,
    lengthBytes: pages * page,
    access: 'read-write',
    mappable: true,
    ...changed,
  };
  return spec;
}

const readOnly = { access: 'read' } as const;

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return isLessorError(error) ? error.code : String(error);
  }
  return undefined;
}

/** Where every window is, as text: name@region+offset. */
function places(windows: readonly WindowSpec[], vectors = 0): string {
  const layout = layoutOf(windows, vectors);
  return layout.windows.map((w) => `${w.spec.name}@${w.region}+${w.offsetBytes}`).join(' ');
}

describe('virtual BARs', () => {
  test('writable windows of one function BAR are concatenated in grant order', () => {
    const layout = layoutOf([window('a', 2, 1), window('b', 2, 2, { offsetBytes: 0 })], 0);
    expect(layout.regions[2]).toMatchObject({
      lengthBytes: 4 * page,
      writable: true,
      mappedBacking: 0,
      mappedBytes: 3 * page,
    });
    expect(layout.backings).toEqual([
      {
        region: 2,
        access: 'read-write',
        ranges: [
          { offsetBytes: 0x8000, lengthBytes: page },
          { offsetBytes: 0, lengthBytes: 2 * page },
        ],
      },
    ]);
    expect(places([window('a', 2, 1), window('b', 2, 2)])).toBe('a@2+0 b@2+4096');
  });

  test('keep their number; read-only ones take the lowest that is left', () => {
    expect(
      places([
        window('r1', 2, 1, readOnly),
        window('w0', 0, 1),
        window('r2', 2, 1, readOnly),
        window('w2', 2, 1),
      ]),
    ).toBe('r1@1+0 w0@0+0 r2@3+0 w2@2+0');
  });

  test('a read-only window has a descriptor of its own', () => {
    const layout = layoutOf([window('w', 2, 1), window('r', 2, 1, readOnly)], 0);
    expect(layout.backings.map(({ access }) => access)).toEqual(['read-write', 'read']);
    expect(layout.regions[0]).toMatchObject({ writable: false, mappedBacking: 1 });
  });

  test('what may combine writes has a BAR and a descriptor of its own', () => {
    const memory = 'write-combining' as const;
    const windows = [
      window('d', 2, 1),
      window('c1', 2, 1, { memory }),
      window('r', 2, 1, { ...readOnly, memory }),
      window('c2', 2, 2, { memory }),
    ];
    expect(places(windows)).toBe('d@2+0 c1@0+0 r@1+0 c2@0+4096');
    const layout = layoutOf(windows, 0);
    expect(layout.backings.map((backing) => backing.memory)).toEqual([undefined, memory, memory]);
    expect(decodeWindowCapability(layout.capability).map((shown) => shown.memory)).toEqual([
      'device',
      memory,
      memory,
      memory,
    ]);
    const plain = windowsOf(windows, {});
    expect(places(plain)).toBe('d@2+0 c1@2+4096 r@0+0 c2@2+8192');
    expect(layoutOf(plain, 0).backings.every((backing) => backing.memory === undefined)).toBe(true);
    const able = { direct: true, harmful: false, combining: true };
    expect(windowsOf(windows, { windows: able })).toEqual(windows);
  });

  test('what only messages reach stands behind what can be mapped, with a backing of its own', () => {
    const layout = layoutOf([window('m', 2, 1, { mappable: false }), window('w', 2, 1)], 0);
    expect(layout.windows.map((w) => [w.spec.name, w.offsetBytes, w.backing])).toEqual([
      ['m', page, 1],
      ['w', 0, 0],
    ]);
    expect(layout.regions[2]).toMatchObject({ mappedBacking: 0, mappedBytes: page });
  });

  test('without a mappable window have nothing to map', () => {
    const layout = layoutOf([window('m', 2, 1, { mappable: false })], 0);
    expect(layout.regions[2]).toMatchObject({ mappedBacking: undefined, mappedBytes: 0 });
  });

  test('MSI-X table and PBA take the last one, the next free below it', () => {
    const layout = layoutOf([window('w', 2, 1)], 3);
    expect(layout.msix).toEqual({ region: 5, tableOffset: 0, pbaOffset: page });
    expect(layout.regions[5]).toMatchObject({ lengthBytes: 2 * page, mappedBacking: undefined });
    expect(layoutOf([window('w', 5, 1)], 3).msix?.region).toBe(4);
    expect(layoutOf([window('w', 2, 1)], 0).msix).toBeUndefined();
  });

  test('the MSI-X BAR holds a full table', () => {
    const { msix, regions } = layoutOf([window('w', 2, 1)], limits.vectorsPerLeaseMax);
    expect(msix?.pbaOffset).toBe(msixTableBytes(limits.vectorsPerLeaseMax));
    expect(regions[5]?.lengthBytes).toBe(2 * msixTableBytes(limits.vectorsPerLeaseMax));
  });

  test('are at least a page, whatever the window has', () => {
    const tiny = window('w', 2, 1, { lengthBytes: 64, mappable: false });
    expect(layoutOf([tiny], 0).regions[2]?.lengthBytes).toBe(page);
  });

  test('six are enough, a seventh is refused', () => {
    const six = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => window(name, 2, 1, readOnly));
    expect(places(six)).toBe('a@0+0 b@1+0 c@2+0 d@3+0 e@4+0 f@5+0');
    expect(codeOf(() => layoutOf(six, 1))).toBe('DRIVER_INVALID');
    expect(codeOf(() => layoutOf([...six, window('g', 2, 1, readOnly)], 0))).toBe('DRIVER_INVALID');
  });

  test('are six: a window of another region is refused', () => {
    expect(codeOf(() => layoutOf([window('w', 6, 1)], 0))).toBe('DRIVER_INVALID');
    expect(codeOf(() => layoutOf([window('w', -1, 1)], 0))).toBe('DRIVER_INVALID');
  });
});

describe('the window list', () => {
  test('says where every window is', () => {
    const layout = layoutOf([window('regs', 2, 1), window('status', 2, 1, readOnly)], 1);
    const one = { offsetBytes: 0, lengthBytes: page, memory: 'device' };
    expect(decodeWindowCapability(layout.capability)).toEqual([
      { ...one, name: 'regs', region: 2, access: 'read-write' },
      { ...one, name: 'status', region: 0, access: 'read' },
    ]);
  });

  test('is refused when it does not fit a capability, or a name is given twice', () => {
    const named = (length: number) =>
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => window(name.repeat(length), 2, 1));
    expect(codeOf(() => layoutOf(named(1), 0))).toBeUndefined();
    expect(codeOf(() => layoutOf(named(12), 0))).toBe('DRIVER_INVALID');
    expect(codeOf(() => layoutOf([window('a', 2, 1), window('a', 0, 1)], 0))).toBe(
      'DRIVER_INVALID',
    );
    const many = Array.from({ length: limits.windowsPerSliceMax + 1 }, (_, n) =>
      window(`${n}`, 2, 1),
    );
    expect(codeOf(() => layoutOf(many, 0))).toBe('DRIVER_INVALID');
  });
});

describe('register access', () => {
  const vectors = 3;
  const windows = [
    window('a', 2, 1, { lengthBytes: 12, mappable: false }),
    window('b', 2, 1, { lengthBytes: 8, mappable: false }),
    window('r', 2, 1, readOnly),
  ];
  const layout = layoutOf(windows, vectors);
  const hit = (region: number, offset: number, width: number): string => {
    const access = resolveAccess(layout, vectors, region, offset, width);
    if (access.type === 'window') return `${access.window.spec.name}+${access.offsetBytes}`;
    return access.type === 'msixTable' ? `table+${access.offsetBytes}` : access.type;
  };

  test.each([
    [2, 0, 4, 'a+0'],
    [2, 8, 4, 'a+8'],
    [2, 8, 8, 'invalid'],
    [2, 12, 4, 'b+0'],
    [2, 16, 4, 'b+4'],
    [2, 19, 1, 'b+7'],
    [2, 20, 4, 'hole'],
    [2, 16, 8, 'invalid'],
    [2, 4092, 4, 'hole'],
    [0, 0, 8, 'r+0'],
    [0, 4088, 8, 'r+4088'],
    [1, 0, 4, 'hole'],
    [5, 0, 4, 'table+0'],
    [5, 47, 1, 'table+47'],
    [5, 48, 4, 'hole'],
    [5, 4096, 8, 'pba'],
    [5, 4104, 8, 'hole'],
  ])('region %i offset %i width %i: %s', (region, offset, width, wanted) => {
    expect(hit(region, offset, width)).toBe(wanted);
  });

  test.each([0, 3, 5, 6, 7, 16, -1, 1.5])('of width %s is invalid', (width) => {
    expect(hit(2, 0, width)).toBe('invalid');
    expect(hit(5, 0, width)).toBe('invalid');
  });

  test.each([
    [1, 2],
    [2, 4],
    [4, 8],
    [1, 4],
  ])('at %i with width %i is not natural', (offset, width) => {
    expect(hit(2, offset, width)).toBe('invalid');
    expect(hit(5, offset, width)).toBe('invalid');
  });
});

test('every byte of every window is reached, once, and nothing else is', () => {
  const spec = fc.record({
    region: fc.nat(3),
    pages: fc.integer({ min: 1, max: 3 }),
    access: fc.constantFrom('read', 'read-write'),
    mappable: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(spec, { minLength: 1, maxLength: 5 }), fc.nat(40), (specs, vectors) => {
      const windows = specs.map(({ region, pages, access, mappable }, index) =>
        window(`${index}`, region, pages, { access, mappable } as Partial<WindowSpec>),
      );
      const code = codeOf(() => layoutOf(windows, vectors));
      if (code !== undefined) {
        expect(code).toBe('DRIVER_INVALID');
        return;
      }
      const layout = layoutOf(windows, vectors);
      const seen = new Map<string, number>();
      for (const region of layout.regions) {
        if (region === undefined) continue;
        expect(Math.log2(region.lengthBytes) % 1).toBe(0);
        for (let offset = 0; offset < region.lengthBytes; offset += page) {
          const access = resolveAccess(layout, vectors, region.index, offset, 4);
          if (access.type !== 'window') continue;
          const { name } = access.window.spec;
          expect(access.offsetBytes).toBe((seen.get(name) ?? 0) * page);
          seen.set(name, (seen.get(name) ?? 0) + 1);
          const backing = layout.backings[access.window.backing]!;
          expect(backing.region).toBe(access.window.spec.region);
          expect(backing.access).toBe(access.window.spec.access);
        }
      }
      for (const [index, { pages }] of specs.entries()) expect(seen.get(`${index}`)).toBe(pages);
    }),
  );
});
