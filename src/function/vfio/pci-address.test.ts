import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePciAddress, pciAddressOf } from './pci-address.js';

describe('the address of a PCI function', () => {
  test.each([
    ['0000:00:05.0', '0000:00:05.0'],
    ['00:05.0', '0000:00:05.0'],
    ['0:5.0', '0000:00:05.0'],
    ['0000:AF:1F.7', '0000:af:1f.7'],
    ['10000:e0:06.0', '10000:e0:06.0'],
    ['00000001:00:00.1', '0001:00:00.1'],
  ])('%s is %s', (text, address) => {
    expect(parsePciAddress(text)).toBe(address);
  });

  test.each([
    '',
    '00:05',
    '00:05.8',
    '00:20.0',
    '100:05.0.1',
    '0000:00:05.0 ',
    '0000:00:05.0\n',
    '../0000:00:05.0',
    '000000000:00:05.0',
    '0000:000:05.0',
    'vfio-user:/tmp/a',
  ])('refuses "%s"', (text) => {
    expect(() => parsePciAddress(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  test('comes back as it was written by sysfs', () => {
    const hex = (value: number, width: number): string => value.toString(16).padStart(width, '0');
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.integer({ min: 0, max: 0xff }),
        fc.integer({ min: 0, max: 0x1f }),
        fc.integer({ min: 0, max: 7 }),
        (domain, bus, slot, fn) => {
          const address = `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${fn}`;
          expect(pciAddressOf(address)).toBe(address);
          expect(pciAddressOf(address.toUpperCase())).toBe(address);
        },
      ),
    );
  });

  test('is nothing that could leave the folder of the functions', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(pciAddressOf(text) ?? '0000:00:00.0').toMatch(
          /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/,
        );
      }),
    );
  });
});
