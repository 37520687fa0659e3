// MSI, the INTx pin and the expansion ROM in configuration space.
import { describe, expect, it } from 'vitest';
import { AssertionFailure } from '../base/errors.js';
import { ConfigSpace, type ConfigSpaceSpec } from './config-space.js';

const spec: ConfigSpaceSpec = {
  vendorId: 1,
  deviceId: 2,
  subsystemVendorId: 3,
  subsystemId: 4,
  classCode: 5,
  revisionId: 6,
  vectorCount: 0,
  msiVectorCount: 8,
  intx: true,
  bars: [{ index: 6, lengthBytes: 2048 }],
};

function hex(space: ConfigSpace, at: number, count: number): string {
  return Buffer.from(space.read(at, count)).toString('hex');
}

describe('MSI', () => {
  it('has 64-bit addresses, and a mask and a pending bit for each vector', () => {
    const space = new ConfigSpace(spec);
    expect(hex(space, 0x34, 1)).toBe('40');
    expect(hex(space, 0x40, 24)).toBe(`05008601${'00'.repeat(20)}`);
    space.write(0x40, new Uint8Array(24).fill(0xff));
    expect(hex(space, 0x40, 24)).toBe('0500f701fcffffffffffffffffff0000ff00000000000000');
    expect([space.msiEnabled, space.msiMask, space.msiAllotted]).toEqual([true, 0xff, 32]);
    space.msiPending = 0x8000_0001;
    expect(hex(space, 0x54, 4)).toBe('01000080');
  });

  it('may have 32-bit addresses', () => {
    const space = new ConfigSpace({ ...spec, msiVectorCount: 1, msiAddressBits: 32 });
    space.write(0x40, new Uint8Array(20).fill(0xff));
    expect(hex(space, 0x40, 20)).toBe('05007101fcffffffffff00000100000000000000');
    space.msiPending = 1;
    expect(hex(space, 0x50, 4)).toBe('01000000');
  });

  it.each([
    [0x00, 1],
    [0x11, 2],
    [0x31, 8],
  ])('tells what software allotted with 0x%s', (flags, count) => {
    const space = new ConfigSpace(spec);
    space.write(0x42, Uint8Array.of(flags));
    expect([space.msiAllotted, space.msiEnabled]).toEqual([count, (flags & 1) !== 0]);
  });

  it.each([0, 3, 64])('is not laid out for %i vectors', (msiVectorCount) => {
    expect(() => new ConfigSpace({ ...spec, msiVectorCount })).toThrow(AssertionFailure);
  });

  it('is nothing where it is absent', () => {
    const { msiVectorCount: _, ...without } = spec;
    const space = new ConfigSpace(without);
    space.msiPending = 1;
    expect([space.msiEnabled, space.msiMask, space.msiAllotted]).toEqual([false, 0, 1]);
    expect(hex(space, 0x40, 192)).toBe('00'.repeat(192));
  });
});

describe('the INTx pin', () => {
  it('is pin A, with a level in STATUS and a bit in COMMAND', () => {
    const space = new ConfigSpace(spec);
    expect(hex(space, 0x3c, 2)).toBe('0001');
    space.intxStatus = true;
    expect(hex(space, 6, 2)).toBe('1800');
    space.write(6, Uint8Array.of(0));
    space.write(4, Uint8Array.of(0, 0xff));
    expect([hex(space, 4, 4), space.intxDisabled]).toEqual(['00041800', true]);
    space.intxStatus = false;
    space.reset();
    expect([hex(space, 4, 4), space.intxDisabled]).toEqual(['00001000', false]);
  });

  it('has no bit in COMMAND where it is absent', () => {
    const space = new ConfigSpace({ ...spec, intx: false });
    space.write(4, Uint8Array.of(0, 0xff));
    expect([hex(space, 0x3d, 1), space.intxDisabled]).toEqual(['00', false]);
  });
});

describe('the expansion ROM', () => {
  it('has an address and an enable bit', () => {
    const space = new ConfigSpace(spec);
    space.write(0x30, new Uint8Array(4).fill(0xff));
    expect(hex(space, 0x30, 4)).toBe('01f8ffff');
  });

  it.each([1024, 3000])('is not laid out with %i bytes', (lengthBytes) => {
    const bars = [{ index: 6, lengthBytes }];
    expect(() => new ConfigSpace({ ...spec, bars })).toThrow(AssertionFailure);
  });
});
