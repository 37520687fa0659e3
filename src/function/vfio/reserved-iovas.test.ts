import { describe, expect, it } from 'vitest';
import { parseReservedRegions, readReservedIovas } from './reserved-iovas.js';

describe('reserved addresses of a group', () => {
  it('are those that nobody can map', () => {
    const text = [
      '0x0000000000001000 0x0000000000001fff direct',
      '0x00000000bdf6e000 0x00000000bdf84fff direct-relaxable',
      '0x00000000fee00000 0x00000000feefffff msi',
      '0x0000fffffff00000 0xffffffffffffffff reserved',
      '',
    ].join('\n');
    expect(parseReservedRegions(text)).toEqual([
      { start: 0x1000, end: 0x2000 },
      { start: 0xfee0_0000, end: 0xfef0_0000 },
      { start: 0xffff_fff0_0000, end: 2 ** 48 },
    ]);
  });

  it.each([
    'nonsense',
    '0xfee00000 0xfeefffff msi',
    '0x00000000feefffff 0x00000000fee00000 msi',
    '0x0001000000000000 0x0001000000000fff reserved',
    '0x00000000fee00000 0x00000000feefffff msi and more',
  ])('are not in a line like "%s"', (line) => {
    expect(parseReservedRegions(line)).toEqual([]);
  });

  it('are none where the kernel says nothing', () => {
    expect(readReservedIovas(0, '/nowhere')).toEqual([]);
  });
});
