import { describe, expect, it } from 'vitest';
import { type Cell, cells, columns } from './cells.js';
import { judge, type Measured } from './judge.js';
import { isImpossible, type Outcome } from './outcome.js';

/** Everything as expected. */
function right({ expected }: Cell): Measured {
  const possible = columns.filter((column) => !isImpossible(expected[column]));
  return Object.fromEntries(possible.map((column) => [column, expected[column] as Outcome]));
}

const cellOf = (state: Cell['state'], access: Cell['access'] = 'write'): Cell =>
  cells.find((cell) => cell.state === state && cell.access === access)!;

describe('judge', () => {
  it.each(cells)('has nothing against $access, $state as expected', (cell) => {
    expect(judge(cell, right(cell))).toEqual([]);
  });

  it('names a column that moved something else, and that it is not as in software', () => {
    const cell = cellOf('unmapped');
    expect(judge(cell, { ...right(cell), vfio: { moved: 'all' } })).toEqual([
      'vfio is "moved" and not "refused: 0x05 PTE Write access is not set"',
      'vfio is "moved", soft "refused: not mapped"',
    ]);
  });

  it('holds a refusal to its reason', () => {
    const cell = cellOf('read-only');
    const soft: Outcome = { moved: 'nothing', because: 'not mapped' };
    expect(judge(cell, { ...right(cell), soft })).toEqual([
      'soft is "refused: not mapped" and not "refused: no permission"',
    ]);
    const mock: Outcome = { moved: 'nothing', because: undefined };
    expect(judge(cell, { ...right(cell), mock })).toEqual([
      'mock is "nothing moved, unnoticed" and not "refused: EPERM"',
      'mock is "nothing moved, unnoticed", soft access "refused: EPERM"',
    ]);
  });

  it('misses a column that was not measured', () => {
    const { vfio: _, ...others } = right(cellOf('read-write'));
    expect(judge(cellOf('read-write'), others)).toEqual(['vfio was not measured']);
  });

  it('wants a reason for every difference, and a difference for every reason', () => {
    const cell = cellOf('a hole after its first half');
    const { differs, ...unexplained } = cell;
    expect(judge(unexplained, right(cell))).toEqual([
      'vfio is "moved up to the hole: 0x05 PTE Write access is not set", soft "refused: not mapped"',
    ]);
    const same = cellOf('read-write');
    expect(judge({ ...same, differs: { mock: 'why' } }, right(same))).toEqual([
      'mock does not differ, and a reason is given: why',
    ]);
    expect(differs).toBeDefined();
  });
});
