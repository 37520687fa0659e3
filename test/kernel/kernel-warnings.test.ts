import { expect, test } from 'vitest';
import { judgeWarnings } from './kernel-warnings.js';

const log = [
  'iommufd: a line like any other',
  '[    3.1] WARNING: drivers/iommu/iommufd/pages.c:10 at iopt_unmap+0x1/0x2, CPU#0: node/1',
  'WARNING: kernel/fork.c:7 at fork+0x1/0x2, CPU#1: node/1',
].join('\r\n');

test('a warning that is not named fails a run', () => {
  const { known, unknown } = judgeWarnings(log, [{ pattern: /fork\.c/, reason: 'because' }]);
  expect(known).toMatchObject([{ reason: 'because' }]);
  expect(unknown).toEqual([
    'WARNING: drivers/iommu/iommufd/pages.c:10 at iopt_unmap+0x1/0x2, CPU#0: node/1',
  ]);
});

test('nothing is found where nothing is', () => {
  expect(judgeWarnings('all is well\n')).toEqual({ known: [], unknown: [] });
});
