import { expect, test } from 'vitest';
import { versionIn } from './qemu-tree.js';

test.each([
  ['QEMU emulator version 11.1.3 (Debian 1:11.1.3)\nCopyright', '11.1.3'],
  ['QEMU emulator version 10.1.0', '10.1.0'],
  ['QEMU emulator version 10.2', '10.2'],
])('%s is new enough', (printed, version) => {
  expect(versionIn(printed)).toBe(version);
});

test.each(['QEMU emulator version 10.0.13', 'QEMU emulator version 9.9.9'])(
  '%s is too old',
  (printed) => {
    expect(() => versionIn(printed)).toThrow('is older than 10.1');
  },
);

test('something else has no version', () => {
  expect(() => versionIn('busybox')).toThrow('no version');
});
