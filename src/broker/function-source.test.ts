import { describe, expect, it } from 'vitest';
import { parseFunctionSource } from './function-source.js';

describe('the name of a function', () => {
  it.each([
    ['vfio-user:/run/device.sock', { type: 'vfio-user', path: '/run/device.sock' }],
    ['vfio-user:00:05.0', { type: 'vfio-user', path: '00:05.0' }],
    ['0000:00:05.0', { type: 'pci', address: '0000:00:05.0' }],
    ['00:05.0', { type: 'pci', address: '0000:00:05.0' }],
    ['10000:E1:1f.7', { type: 'pci', address: '10000:e1:1f.7' }],
  ])('is read: %s', (text, source) => {
    expect(parseFunctionSource(text)).toEqual(source);
  });

  it.each(['', 'vfio-user:', '/run/device.sock', '00:05', '00:05.8', '00:20.0', ' 00:05.0', 'edu'])(
    'is refused with what it should be: "%s"',
    (text) => {
      expect(() => parseFunctionSource(text)).toThrow(
        expect.objectContaining({
          code: 'INVALID_ARGUMENT',
          hint: expect.stringContaining('vfio-user:PATH'),
        }),
      );
    },
  );
});
