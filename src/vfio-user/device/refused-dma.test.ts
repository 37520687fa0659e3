import { expect, test } from 'vitest';
import { limits } from '../../base/limits.js';
import { type LogFields, silentLogger } from '../../base/log.js';
import { ManualClock } from '../testing/manual-clock.js';
import { RefusedDma } from './refused-dma.js';

test('so many lines a second, and how many there were besides', () => {
  const clock = new ManualClock();
  const lines: (LogFields | undefined)[] = [];
  const log = { ...silentLogger, info: (_: string, fields?: LogFields) => void lines.push(fields) };
  const refused = new RefusedDma(log, clock, 'mqdma');
  const most = limits.refusedDmaLinesPerSecondMax;
  for (let index = 0; index < most; index += 1) refused.tell(0x1000, 'read', 'not mapped');
  expect(lines.length).toBe(most);
  refused.tell(0x2000, 'write', 'no permission');
  refused.tell(0x3000, 'write', 'no permission');
  expect(lines.length).toBe(most);
  expect(lines[0]).toEqual({
    device: 'mqdma',
    iova: '0x1000',
    access: 'read',
    reason: 'not mapped',
    untold: undefined,
  });
  clock.advance(1000);
  refused.tell(0x4000, 'write', 'no permission');
  refused.tell(0x5000, 'write', 'no permission');
  const later = lines.slice(most).map((line) => [line?.iova, line?.untold]);
  expect(later).toEqual([
    ['0x4000', 2],
    ['0x5000', undefined],
  ]);
});
