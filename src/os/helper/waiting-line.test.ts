// Turns, order and limits of the line for the helpers.
import { describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { WaitingLine } from './waiting-line.js';

interface TestJob {
  readonly uid: number;
  readonly name: string;
}

function fill(line: WaitingLine<TestJob>, uid: number, count: number): TestJob[] {
  const jobs = Array.from({ length: count }, (_, index) => ({ uid, name: `${uid}.${index}` }));
  for (const job of jobs) line.add(job);
  return jobs;
}

describe('the waiting line', () => {
  it('serves uids in turn and each in order', () => {
    const line = new WaitingLine<TestJob>();
    fill(line, 1, 3);
    fill(line, 2, 2);
    const names = Array.from({ length: 6 }, () => line.take()?.name);
    expect(names).toEqual(['1.0', '2.0', '1.1', '2.1', '1.2', undefined]);
  });

  it('lets no more than the limit of one uid be active', () => {
    const line = new WaitingLine<TestJob>();
    const most = limits.helperOperationsPerUidMax;
    fill(line, 1, most + 2);
    expect(line.runnableCount).toBe(most);
    for (let index = 0; index < most; index++) expect(line.take()?.name).toBe(`1.${index}`);
    expect(line.take()).toBeUndefined();
    expect(line.runnableCount).toBe(0);
    line.leave(1, false);
    expect(line.take()?.name).toBe(`1.${most}`);
    expect(line.take()).toBeUndefined();
  });

  it('admits as many as may wait, and not one more', () => {
    const line = new WaitingLine<TestJob>();
    fill(line, 1, limits.helperWaitersPerUidMax - 1);
    expect(line.admits(1)).toBe(true);
    const [last] = fill(line, 1, 1);
    expect(line.admits(1)).toBe(false);
    expect(line.admits(2)).toBe(true);
    expect(last && line.remove(last)).toBe(true);
    expect(last && line.remove(last)).toBe(false);
    expect(line.admits(1)).toBe(true);
  });

  it('admits nobody of a uid that holds all its helpers stuck', () => {
    const line = new WaitingLine<TestJob>();
    const most = limits.helperOperationsPerUidMax;
    fill(line, 1, most);
    for (let index = 0; index < most; index++) {
      expect(line.admits(1)).toBe(true);
      line.take();
      line.markStuck(1);
    }
    expect(line.admits(1)).toBe(false);
    line.leave(1, true);
    expect(line.admits(1)).toBe(true);
    fill(line, 1, 2);
    expect(line.runnableCount).toBe(1);
  });

  it('hands over everyone that waits', () => {
    const line = new WaitingLine<TestJob>();
    const jobs = [...fill(line, 1, 3), ...fill(line, 2, 1)];
    line.take();
    expect(new Set(line.takeAll())).toEqual(new Set(jobs.slice(1)));
    expect(line.take()).toBeUndefined();
    line.leave(1, false);
  });
});
