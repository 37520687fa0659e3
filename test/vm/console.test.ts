import { expect, test } from 'vitest';
import { consoleLines, lastLines, panicIn, warningsIn } from './console.js';

const boot = '\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n\r\n[    0.000000] Linux version 7.3.4\r\n';

test('what moves a cursor is no text', () => {
  expect(consoleLines(boot)).toEqual(['SeaBIOS', '[    0.000000] Linux version 7.3.4']);
  expect(lastLines(`${boot}a\nb\n`, 2)).toBe('a\nb');
});

test.each([
  ['[    4.2] Kernel panic - not syncing: sysrq triggered crash', 'Kernel panic - not syncing'],
  ['BUG: kernel NULL pointer dereference, address: 0000000000000008', 'BUG: kernel NULL'],
  ['[   12.345678] Oops: Oops: 0002 [#1] SMP NOPTI', 'Oops: Oops: 0002'],
  ['Oops: general protection fault, probably for non-canonical address', 'Oops: general'],
])('%s is the end', (line, beginning) => {
  const found = panicIn(`${boot}${line}\r\nCPU: 0\r\n`);
  expect(found).toMatch(new RegExp(`^${beginning}`));
});

test('a usual boot is no trouble, and a DMAR fault is none either', () => {
  const fault = 'DMAR: [DMA Read NO_PASID] Request device [00:05.0] fault addr 0x1000';
  const text = `${boot}Kernel command line: panic=-1 oops=panic\n${fault}\nDEBUG: on\n`;
  expect(panicIn(text)).toBeUndefined();
  expect(warningsIn(text)).toEqual([]);
});

test('warnings are counted one by one', () => {
  const line = 'WARNING: drivers/iommu/iommufd/pages.c:1 at iopt_x+0x1/0x2, CPU#0: node/77';
  expect(warningsIn(`${boot}[   1.5] ${line}\nModules:\n${line}\n`)).toEqual([line, line]);
});
