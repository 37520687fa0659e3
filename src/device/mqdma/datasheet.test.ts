// The page in docs/ is the tables, and the tables do not contradict themselves.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as sheet from './datasheet.js';
import { datasheetPage } from './datasheet-page.js';

describe('the datasheet', () => {
  it('in docs/ is current', () => {
    const path = new URL('../../../../docs/reference/mqdma-datasheet.md', import.meta.url);
    // Mend: node dist/src/device/mqdma/datasheet-page.js > docs/reference/mqdma-datasheet.md
    expect(readFileSync(path, 'utf8')).toBe(datasheetPage());
  });

  const registers: [string, readonly sheet.RegisterRow[], number][] = [
    ['control', sheet.controlRows, sheet.mqdma.queueRegistersOffsetBytes],
    ['queue control', sheet.queueControlRows, sheet.mqdma.queueRegistersStrideBytes],
    ['queue page', sheet.queuePageRows, 0x80],
    ['status page', sheet.statusPageRows, 0x80],
  ];
  it.each(registers)('%s registers are words of their own, in order, in range', (_, rows, end) => {
    const offsets = rows.map((row) => row.offsetBytes);
    expect(offsets).toEqual([...new Set(offsets)].sort((one, other) => one - other));
    for (const offset of offsets) {
      expect(offset % 4).toBe(0);
      expect(offset).toBeLessThan(end);
    }
  });

  it.each([
    ['descriptor', sheet.descriptorRows, sheet.mqdma.descriptorBytes],
    ['completion', sheet.completionRows, sheet.mqdma.completionBytes],
  ] as const)('%s fields do not overlap', (_, rows, lengthBytes) => {
    let end = 0;
    for (const row of rows as readonly sheet.FieldRow[]) {
      expect(row.offsetBytes).toBeGreaterThanOrEqual(end);
      expect(row.offsetBytes % row.lengthBytes).toBe(0);
      end = row.offsetBytes + row.lengthBytes;
    }
    expect(end).toBeLessThanOrEqual(lengthBytes);
  });

  it('puts what the holder polls and what the device polls on lines of their own', () => {
    const line = (offset: number): number => Math.floor(offset / 64);
    const { queuePage, statusPage } = sheet;
    expect(line(queuePage.TAIL)).toBe(line(queuePage.COMPLETION_HEAD));
    expect(line(queuePage.TAIL)).not.toBe(line(queuePage.RING_CONTROL));
    expect(line(statusPage.NEED_WAKEUP)).not.toBe(line(statusPage.STATE));
  });
});
