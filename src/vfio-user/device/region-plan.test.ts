// Which device descriptions can be shown, and how.
import { describe, expect, it } from 'vitest';
import { isLessorError } from '../../base/errors.js';
import type { DeviceConfig, DeviceRegion } from '../../device/types.js';
import { planDevice } from './region-plan.js';

const page = 4096;
const config: DeviceConfig = {
  vendorId: 1,
  deviceId: 2,
  subsystemVendorId: 3,
  subsystemId: 4,
  classCode: 5,
  revisionId: 6,
  vectorCount: 65,
  pasidBits: 0,
};

function frame(offsetBytes: number, lengthBytes = page, writable = true) {
  return { offsetBytes, lengthBytes, writable };
}

function plan(regions: readonly DeviceRegion[], msix?: DeviceConfig['msix']) {
  return planDevice(msix === undefined ? config : { ...config, msix }, regions, page);
}

describe('a plan', () => {
  it('rounds BARs and the ROM up, and nothing else', () => {
    const { shown } = plan([
      { index: 6, lengthBytes: 1 },
      { index: 0, lengthBytes: 3 },
      { index: 5, lengthBytes: 2 ** 31 },
      { index: 8, lengthBytes: 3 },
      { index: 9, lengthBytes: 5, type: { type: 7, subtype: 8 } },
    ]);
    expect(shown.map(({ lengthBytes }) => lengthBytes)).toEqual([
      16,
      0,
      0,
      0,
      0,
      2 ** 31,
      2048,
      256,
      3,
      5,
    ]);
    expect(shown[9]?.type).toEqual({ type: 7, subtype: 8 });
  });

  it('joins frames that touch to one area, in order', () => {
    const frames = [frame(4 * page), frame(page, page, false), frame(0)];
    const { shown, regions } = plan([{ index: 2, lengthBytes: 8 * page, frames }]);
    expect(shown[2]?.areas).toEqual([
      { offsetBytes: 0, lengthBytes: 2 * page },
      { offsetBytes: 4 * page, lengthBytes: page },
    ]);
    expect(regions[0]?.frames.map(({ offsetBytes }) => offsetBytes)).toEqual([0, page, 4 * page]);
  });

  it('gives MSI-X a bit of the PBA for each vector, in words of 64', () => {
    const regions = [{ index: 1, lengthBytes: 2 * page }];
    const msix = { region: 1, tableOffset: 0, pbaOffset: 2 * page - 16 };
    expect(plan(regions, msix).msix).toMatchObject({ tableBytes: 65 * 16, pbaBytes: 16 });
  });
});

describe('no plan', () => {
  const bar = (more: Partial<DeviceRegion>) => [{ index: 0, lengthBytes: 4 * page, ...more }];
  it.each([
    ['a region of no bytes', bar({ lengthBytes: 0 })],
    ['half a byte', bar({ lengthBytes: 0.5 })],
    ['more than 2 GiB', bar({ lengthBytes: 2 ** 31 + 1 })],
    ['a negative index', bar({ index: -1 })],
    ['the configuration space', bar({ index: 7 })],
    ['the same region twice', [...bar({}), ...bar({})]],
    ['a BAR with a type', bar({ type: { type: 1, subtype: 1 } })],
    ['a device-specific region without', bar({ index: 9 })],
    ['a gap before it', bar({ index: 10, type: { type: 1, subtype: 1 } })],
    ['too many regions', bar({ index: 32, type: { type: 1, subtype: 1 } })],
    ['a frame off the page', bar({ frames: [frame(8)] })],
    ['half a page', bar({ frames: [frame(0, 2048)] })],
    ['a frame of no bytes', bar({ frames: [frame(0, 0)] })],
    ['frames that overlap', bar({ frames: [frame(0, 2 * page), frame(page)] })],
    ['a frame past the end', bar({ frames: [frame(3 * page, 2 * page)] })],
  ])('is made for %s', (_, regions) => {
    expect(codeOf(() => plan(regions))).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['in a region that is not there', { region: 1, tableOffset: 0, pbaOffset: 2048 }],
    ['off its alignment', { region: 0, tableOffset: 4, pbaOffset: 2048 }],
    ['past the end', { region: 0, tableOffset: 0, pbaOffset: 4 * page - 8 }],
    ['over its own PBA', { region: 0, tableOffset: 0, pbaOffset: 64 * 16 }],
    ['in a frame', { region: 0, tableOffset: 0, pbaOffset: page }],
  ])('is made for an MSI-X table %s', (_, msix) => {
    const regions = bar({ frames: [frame(page)] });
    expect(codeOf(() => plan(regions, msix))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => plan(regions, { region: 0, tableOffset: 0, pbaOffset: 2048 }))).toBe(
      'none',
    );
  });
});

function codeOf(call: () => unknown): string {
  try {
    call();
    return 'none';
  } catch (error) {
    return isLessorError(error) ? error.code : String(error);
  }
}
