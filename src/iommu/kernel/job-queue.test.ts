import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Job, JobQueue } from './job-queue.js';

interface Named extends Job {
  readonly name: string;
}

function job(name: string, spaceId: number, start: number, end: number, isRemoval = false): Named {
  return { name, spaceId, start, end, isRemoval };
}

/** Names of the next pieces; nothing is ever done. */
function turns(queue: JobQueue<Named>, count: number): string[] {
  return Array.from({ length: count }, () => queue.next()?.name ?? '');
}

describe('JobQueue', () => {
  it('gives every address space a piece in turn', () => {
    const queue = new JobQueue<Named>();
    queue.add(job('a', 1, 0, 10));
    queue.add(job('b', 2, 0, 10));
    queue.add(job('a2', 1, 10, 20));
    expect(turns(queue, 4)).toEqual(['a', 'b', 'a', 'b']);
    const first = queue.next()!;
    expect(queue.remove(first)).toBe(true);
    expect(queue.remove(first)).toBe(false);
    expect(turns(queue, 3)).toEqual(['b', 'a2', 'b']);
  });

  it('removes before it maps, wherever that is asked for', () => {
    const queue = new JobQueue<Named>();
    queue.add(job('map', 1, 0, 10));
    queue.add(job('map 2', 2, 0, 10));
    queue.add(job('more', 2, 10, 20));
    queue.add(job('unmap', 2, 30, 40, true));
    expect(turns(queue, 2)).toEqual(['unmap', 'unmap']);
    queue.dropAll(2);
    expect(turns(queue, 1)).toEqual(['map']);
  });

  it('keeps a removal behind what touches its addresses', () => {
    const queue = new JobQueue<Named>();
    const map = job('map', 1, 0, 10);
    queue.add(map);
    queue.add(job('unmap', 1, 9, 20, true));
    expect(turns(queue, 2)).toEqual(['map', 'map']);
    queue.remove(map);
    expect(turns(queue, 1)).toEqual(['unmap']);
  });

  it('drops the jobs of one address space, in their order', () => {
    const queue = new JobQueue<Named>();
    for (const name of ['a', 'b', 'c']) queue.add(job(name, name === 'b' ? 2 : 1, 0, 1));
    expect(queue.dropAll(1).map(({ name }) => name)).toEqual(['a', 'c']);
    expect(queue.dropAll(1)).toEqual([]);
    expect(turns(queue, 2)).toEqual(['b', 'b']);
  });

  it('loses nothing, and never changes the order of what touches the same addresses', () => {
    const jobs = fc.array(
      fc.record({
        spaceId: fc.integer({ min: 1, max: 3 }),
        start: fc.integer({ min: 0, max: 30 }),
        length: fc.integer({ min: 1, max: 10 }),
        isRemoval: fc.boolean(),
      }),
      { maxLength: 100 },
    );
    fc.assert(
      fc.property(jobs, (list) => {
        const queue = new JobQueue<Named>();
        const given = list.map(({ spaceId, start, length, isRemoval }, index) =>
          job(`${index}`, spaceId, start, start + length, isRemoval),
        );
        for (const one of given) queue.add(one);
        const done: Named[] = [];
        for (let one = queue.next(); one !== undefined; one = queue.next()) {
          expect(queue.remove(one)).toBe(true);
          done.push(one);
        }
        expect(done).toHaveLength(given.length);
        const place = new Map(done.map((one, index) => [one, index]));
        for (const [index, late] of given.entries()) {
          for (const early of given.slice(0, index)) {
            const sameSpace = early.spaceId === late.spaceId;
            const touches = early.start < late.end && late.start < early.end;
            if (!sameSpace || (late.isRemoval && !touches)) continue;
            expect(place.get(early)).toBeLessThan(place.get(late)!);
          }
        }
      }),
    );
  });
});
