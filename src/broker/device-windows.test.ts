// Which slices can be given away with the whole device, and how their windows lie then.
import { expect, test } from 'vitest';
import type { WindowSpec } from '../driver/types.js';
import { deviceWindows } from './device-windows.js';
import { layoutOf } from './layout.js';

const page = 4096;
const regions = [
  {
    index: 0,
    lengthBytes: 16 * page,
    mappable: false,
    deviceAreas: [
      { offsetBytes: 0, lengthBytes: 4 * page },
      { offsetBytes: 8 * page, lengthBytes: 8 * page },
    ],
  },
  { index: 2, lengthBytes: 2 ** 32, mappable: false },
  {
    index: 4,
    lengthBytes: 2 ** 33,
    mappable: false,
    deviceAreas: [{ offsetBytes: 0, lengthBytes: 2 ** 33 }],
  },
];

function window(name: string, at: number, changed: Partial<WindowSpec> = {}): WindowSpec {
  return {
    name,
    region: 0,
    offsetBytes: at,
    lengthBytes: page,
    access: 'read-write',
    mappable: false,
    ...changed,
  };
}

test.each<[string, WindowSpec, boolean]>([
  ['a page of an area', window('w', 8 * page), true],
  ['between areas', window('w', 4 * page), false],
  ['across the edge of one', window('w', 3 * page, { lengthBytes: 2 * page }), false],
  ['part of a page', window('w', 0, { lengthBytes: 2048 }), false],
  ['a region that nobody can map', window('w', 0, { region: 2 }), false],
  ['a region that is not there', window('w', 0, { region: 5 }), false],
  ['the last page that a lease shows', window('w', 2 ** 31 - page, { region: 4 }), true],
  ['one past it', window('w', 2 ** 31, { region: 4 }), false],
])('%s can be given: %s', (_what, spec, can) => {
  const given = deviceWindows([window('first', 0), spec], { regions }, page);
  expect(given !== undefined).toBe(can);
});

test('windows are where they are in the device', () => {
  const windows = [
    window('b', 9 * page, { memory: 'write-combining' }),
    window('a', page),
    window('r', 2 * page, { access: 'read', lengthBytes: 2 * page }),
  ];
  const given = deviceWindows(windows, { regions }, page) ?? [];
  const layout = layoutOf(given, 1, 'in place');
  expect(layout.windows.map((w) => [w.spec.name, w.region, w.offsetBytes])).toEqual([
    ['b', 0, 9 * page],
    ['a', 0, page],
    ['r', 1, 2 * page],
  ]);
  expect(layout.windows.map((w) => [w.backing, w.backingOffsetBytes])).toEqual([
    [0, 0],
    [0, page],
    [1, 0],
  ]);
  expect(layout.regions[0]).toMatchObject({
    lengthBytes: 16 * page,
    areas: [
      { offsetBytes: 9 * page, lengthBytes: page },
      { offsetBytes: page, lengthBytes: page },
    ],
    mappedBytes: 2 * page,
  });
  expect(layout.regions[1]).toMatchObject({
    lengthBytes: 4 * page,
    areas: [{ offsetBytes: 2 * page, lengthBytes: 2 * page }],
  });
  expect(layout.backings).toEqual([
    {
      region: 0,
      access: 'read-write',
      ranges: [
        { offsetBytes: 9 * page, lengthBytes: page },
        { offsetBytes: page, lengthBytes: page },
      ],
    },
    { region: 0, access: 'read', ranges: [{ offsetBytes: 2 * page, lengthBytes: 2 * page }] },
  ]);
});
