import { describe, expect, it } from 'vitest';
import { parseDmaBufFeatures } from './dma-buf-features.js';

describe('the features to try, as an operator names them', () => {
  it.each([
    ['look', 'look'],
    ['none', 'none'],
    ['14', { revoke: 14 }],
    ['20,21', { revoke: 20, memory: 21 }],
    ['65535', { revoke: 65_535 }],
  ])('%s', (text, wanted) => {
    expect(parseDmaBufFeatures(text)).toEqual(wanted);
  });

  it.each(['', 'all', '13', '14,13', '14,', ',15', '14,15,16', '65536', '-1', '0x0e', '14 '])(
    'are not "%s"',
    (text) => {
      expect(() => parseDmaBufFeatures(text)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    },
  );
});
