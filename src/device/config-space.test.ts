import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionFailure, isLessorError } from '../base/errors.js';
import { ConfigSpace, type ConfigSpaceSpec } from './config-space.js';

const spec: ConfigSpaceSpec = {
  vendorId: 0x1234,
  deviceId: 0x5678,
  subsystemVendorId: 0x9abc,
  subsystemId: 0xdef0,
  classCode: 0x120000,
  revisionId: 3,
  vectorCount: 4,
  msix: { region: 2, tableOffset: 0, pbaOffset: 0x800 },
  bars: [
    { index: 0, lengthBytes: 0x4000 },
    { index: 2, lengthBytes: 0x1000 },
  ],
  vendorCapabilities: [Uint8Array.of(1, 2, 3, 4, 5), Uint8Array.of(6)],
};

function u32(space: ConfigSpace, at: number): number {
  return Buffer.from(space.read(at, 4)).readUInt32LE();
}

function write32(space: ConfigSpace, at: number, value: number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return space.write(at, bytes);
}

function hex(space: ConfigSpace, at: number, count: number): string {
  return Buffer.from(space.read(at, count)).toString('hex');
}

describe('ConfigSpace', () => {
  it('shows the header of the function', () => {
    const space = new ConfigSpace(spec);
    const header =
      '34127856000010000300001200000000' +
      '00000000'.repeat(6) +
      '00000000bc9af0de00000000400000000000000000000000';
    expect(hex(space, 0, 64)).toBe(header);
  });

  it('chains MSI-X and vendor-specific capabilities', () => {
    const space = new ConfigSpace(spec);
    expect(hex(space, 0x40, 12)).toBe('114c03000200000002080000');
    expect(hex(space, 0x4c, 8)).toBe('0954080102030405');
    expect(hex(space, 0x54, 4)).toBe('09000406');
  });

  it('has no capability list without capabilities', () => {
    const { msix: _, vendorCapabilities: __, ...bare } = spec;
    const space = new ConfigSpace(bare);
    expect(hex(space, 6, 2)).toBe('0000');
    expect(hex(space, 0x34, 1)).toBe('00');
    expect([space.msixEnabled, space.msixMasked]).toEqual([false, false]);
  });

  it.each([
    [0x10, 0xffffc000],
    [0x14, 0],
    [0x18, 0xfffff000],
    [0x1c, 0],
    [0x20, 0],
    [0x24, 0],
    [0x30, 0],
  ])('reads the size of the BAR at %i back after all ones', (at, mask) => {
    const space = new ConfigSpace(spec);
    write32(space, at, 0xffffffff);
    expect(u32(space, at)).toBe(mask);
    write32(space, at, 0xfebd1234);
    expect(u32(space, at)).toBe((0xfebd1234 & mask) >>> 0);
  });

  it.each([16, 2 ** 31])('sizes a BAR of %i bytes, the limit', (lengthBytes) => {
    const space = new ConfigSpace({ ...spec, bars: [{ index: 5, lengthBytes }] });
    write32(space, 0x24, 0xffffffff);
    expect(u32(space, 0x24)).toBe(2 ** 32 - lengthBytes);
  });

  it.each([8, 2 ** 32, 24, 0, -16])('refuses to lay out a BAR of %i bytes', (lengthBytes) => {
    const bars = [{ index: 0, lengthBytes }];
    expect(() => new ConfigSpace({ ...spec, bars })).toThrow(AssertionFailure);
  });

  it('says what a write changed in COMMAND', () => {
    const space = new ConfigSpace(spec);
    expect(space.write(4, Uint8Array.of(0x02, 0))).toEqual({ memoryEnabled: true });
    expect([space.memoryEnabled, space.busMaster]).toEqual([true, false]);
    expect(space.write(4, Uint8Array.of(0x02))).toEqual({});
    expect(space.write(4, Uint8Array.of(0x06))).toEqual({ busMaster: true });
    expect(space.write(4, Uint8Array.of(0x04))).toEqual({ memoryEnabled: false });
    expect(space.write(5, Uint8Array.of(0xff))).toEqual({});
    expect(space.write(4, Uint8Array.of(0x02))).toEqual({ memoryEnabled: true, busMaster: false });
    expect(space.write(0, new Uint8Array(16))).toEqual({ memoryEnabled: false });
  });

  it('keeps every other bit of COMMAND and all of STATUS', () => {
    const space = new ConfigSpace(spec);
    space.write(4, Uint8Array.of(0xff, 0xff, 0xff, 0xff));
    expect(hex(space, 4, 4)).toBe('06001000');
    space.write(4, new Uint8Array(4));
    expect(hex(space, 4, 4)).toBe('00001000');
  });

  it('lets MSI-X be enabled and masked, nothing else of it', () => {
    const space = new ConfigSpace(spec);
    space.write(0x40, new Uint8Array(12).fill(0xff));
    expect(hex(space, 0x40, 12)).toBe('114c03c00200000002080000');
    expect([space.msixEnabled, space.msixMasked]).toEqual([true, true]);
    space.write(0x43, Uint8Array.of(0x80));
    expect([space.msixEnabled, space.msixMasked]).toEqual([true, false]);
  });

  it('keeps interrupt line and cache line size for software', () => {
    const space = new ConfigSpace(spec);
    space.write(0x3c, Uint8Array.of(11, 22));
    space.write(0x0c, Uint8Array.of(16, 22));
    expect([hex(space, 0x3c, 2), hex(space, 0x0c, 2)]).toEqual(['0b00', '1000']);
  });

  it('is as new after a reset', () => {
    const space = new ConfigSpace(spec);
    const before = hex(space, 0, 256);
    space.write(0, new Uint8Array(256).fill(0xff));
    expect(hex(space, 0, 256)).not.toBe(before);
    expect(space.reset()).toEqual({ memoryEnabled: false, busMaster: false });
    expect(hex(space, 0, 256)).toBe(before);
    expect(space.reset()).toEqual({});
  });

  it('takes any offset and count within 256 bytes, and none past it', () => {
    const space = new ConfigSpace(spec);
    expect(space.read(0, 256)).toHaveLength(256);
    expect(space.read(256, 0)).toHaveLength(0);
    expect(hex(space, 1, 3)).toBe('127856');
    for (const [at, count] of [
      [0, 257],
      [255, 2],
      [257, 0],
      [-1, 1],
      [0.5, 1],
      [0, -1],
    ] as const) {
      let error: unknown;
      try {
        space.read(at, count);
      } catch (thrown) {
        error = thrown;
      }
      expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
    }
    expect(() => space.write(255, new Uint8Array(2))).toThrow();
    expect(hex(space, 255, 1)).toBe('00');
  });

  it('hands out copies', () => {
    const space = new ConfigSpace(spec);
    space.read(0, 2).fill(0);
    expect(hex(space, 0, 2)).toBe('3412');
  });

  it('is the same whether written at once or byte by byte', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.uint8Array({ maxLength: 256 }), (at, data) => {
        const whole = new ConfigSpace(spec);
        const bytewise = new ConfigSpace(spec);
        const part = data.subarray(0, 256 - at);
        whole.write(at, part);
        part.forEach((byte, index) => {
          bytewise.write(at + index, Uint8Array.of(byte));
        });
        expect(hex(whole, 0, 256)).toBe(hex(bytewise, 0, 256));
        expect(hex(whole, 0, 4)).toBe('34127856');
        expect(hex(whole, 0x44, 20)).toBe(hex(new ConfigSpace(spec), 0x44, 20));
      }),
    );
  });

  it('refuses to lay out capabilities that do not fit', () => {
    const fits = { ...spec, vendorCapabilities: [new Uint8Array(256 - 0x4c - 3).fill(1)] };
    expect(new ConfigSpace(fits).read(255, 1)[0]).toBe(1);
    const tooLong = { ...spec, vendorCapabilities: [new Uint8Array(256 - 0x4c - 2)] };
    expect(() => new ConfigSpace(tooLong)).toThrow(AssertionFailure);
  });
});
