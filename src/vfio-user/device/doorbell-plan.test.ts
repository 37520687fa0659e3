// Which doorbells a device may declare.
import { describe, expect, it } from 'vitest';
import { isLessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { DeviceRegion, DoorbellSpec } from '../../device/types.js';
import { planDevice } from './region-plan.js';

const page = 4096;
const config = {
  vendorId: 1,
  deviceId: 2,
  subsystemVendorId: 3,
  subsystemId: 4,
  classCode: 5,
  revisionId: 6,
  vectorCount: 1,
  pasidBits: 0,
  msix: { region: 0, tableOffset: 0x800, pbaOffset: 0x900 },
};

function bar(doorbells: readonly DoorbellSpec[]): DeviceRegion {
  const frames = [
    { offsetBytes: page, lengthBytes: page, writable: true },
    { offsetBytes: 2 * page, lengthBytes: page, writable: false },
  ];
  return { index: 0, lengthBytes: 3 * page + 100, frames, doorbells };
}

function plan(doorbells: readonly DoorbellSpec[]): readonly DoorbellSpec[] {
  return planDevice(config, [bar(doorbells)], page).regions[0]!.doorbells;
}

function codeOf(doorbells: readonly DoorbellSpec[]): string {
  try {
    plan(doorbells);
    return 'none';
  } catch (error) {
    return isLessorError(error) ? error.code : String(error);
  }
}

function bell(offsetBytes: number, lengthBytes = 4, datamatch?: bigint): DoorbellSpec {
  const width = lengthBytes as DoorbellSpec['lengthBytes'];
  return { offsetBytes, lengthBytes: width, ...(datamatch === undefined ? {} : { datamatch }) };
}

/** As many registers from `offsetBytes` on. */
function bells(count: number, offsetBytes: number): DoorbellSpec[] {
  return Array.from({ length: count }, (_, index) => bell(offsetBytes + 4 * index));
}

describe('doorbells', () => {
  it('are put in order, one register by several values', () => {
    const given = [bell(8, 8), bell(4, 2, 9n), bell(6, 1), bell(7, 1), bell(4, 2, 7n), bell(0)];
    const [wide, nine, six, seven, first, start] = given;
    expect(plan(given)).toEqual([start, first, nine, six, seven, wide]);
  });

  it('may be as large as their register and the region', () => {
    expect(codeOf([bell(0, 1, 0xffn), bell(8, 8, 2n ** 64n - 1n)])).toBe('none');
    expect(codeOf([bell(3 * page + 96)])).toBe('none');
    expect(codeOf([bell(0x7fc), bell(0x810), bell(0x8fc), bell(0x908)])).toBe('none');
  });

  it('may be as many as the limits', () => {
    const { vfioUserIoFdEntriesMax: entriesMax, vfioUserFdsMax: fdsMax } = limits;
    expect(codeOf(bells(entriesMax, page))).toBe('none');
    expect(codeOf(bells(entriesMax + 1, page))).toBe('INVALID_ARGUMENT');
    expect(codeOf(bells(fdsMax, 0))).toBe('none');
    expect(codeOf(bells(fdsMax + 1, 0))).toBe('INVALID_ARGUMENT');
    expect(codeOf([...bells(fdsMax - 1, 0), ...bells(2, page)])).toBe('none');
    expect(codeOf([...bells(fdsMax, 0), bell(page)])).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['3 bytes wide', [bell(0, 3)]],
    ['0 bytes wide', [bell(0, 0)]],
    ['16 bytes wide', [bell(0, 16)]],
    ['off its alignment', [bell(2)]],
    ['at half a byte', [bell(0.5, 1)]],
    ['before the region', [bell(-4)]],
    ['past the end', [bell(3 * page + 100)]],
    ['with a value over its width', [bell(0, 1, 0x100n)]],
    ['with a negative value', [bell(0, 8, -1n)]],
    ['in a frame that only the device writes', [bell(2 * page)]],
    ['twice', [bell(0), bell(0)]],
    ['by the same value twice', [bell(0, 4, 1n), bell(0, 4, 1n)]],
    ['by any value and by one', [bell(0, 4, 1n), bell(0)]],
    ['within another', [bell(0), bell(2, 2)]],
    ['over another of the same place', [bell(0, 2, 1n), bell(0, 4, 2n)]],
    ['in the MSI-X table', [bell(0x80c)]],
    ['in the PBA', [bell(0x904)]],
  ])('may not be %s', (_, doorbells) => {
    expect(codeOf(doorbells)).toBe('INVALID_ARGUMENT');
  });
});
