// The columns of the matrix that need no kernel.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryOs } from '../../../src/os/memory.js';
import { loadNative } from '../../../src/os/native.js';
import { type Cell, cells } from './cells.js';
import { DmaColumn, type Rig } from './dma-column.js';
import { isImpossible, type Outcome } from './outcome.js';
import { openSoftAccessColumn } from './soft-column.js';
import { openSoftRig } from './soft-rig.js';

const memory = createMemoryOs(loadNative());

const named = (cell: Cell) => ({ ...cell, name: `${cell.access}, ${cell.state}` });
/** As it is measured. */
const whole = (outcome: unknown) => ({ because: undefined, ...(outcome as Outcome) });

describe('DMA through the soft IOMMU', () => {
  let rig: Rig & AsyncDisposable;
  let column: DmaColumn;

  beforeAll(async () => {
    rig = await openSoftRig(memory);
    await rig.edu.identify();
    column = new DmaColumn(rig);
  });

  afterAll(() => rig[Symbol.asyncDispose]());

  it.each(cells.map(named))('$name', async (cell) => {
    expect(await column.measure(cell)).toEqual(whole(cell.expected.soft));
  });

  it('is seen when an unmap is left out', async () => {
    const forgetful = new Proxy(rig.iommufd, {
      get: (target, name) => {
        if (name === 'ioasUnmap') return () => 0n;
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const broken = new DmaColumn({ ...rig, iommufd: forgetful });
    for (const access of ['read', 'write'] as const) {
      expect(await broken.measure({ access, state: 'unmapped' })).toEqual(whole({ moved: 'all' }));
    }
  });

  it('is seen when the device sends another PASID than it is told', async () => {
    const broken = new DmaColumn({
      ...rig,
      present: (pasid) => rig.present!(pasid === undefined ? undefined : 6),
    });
    const found = await broken.measure({ access: 'write', state: 'mapped for another PASID' });
    expect(found).toEqual(whole({ moved: 'all' }));
  });
});

describe('an access of software', () => {
  const column = openSoftAccessColumn(memory);
  afterAll(() => column[Symbol.dispose]());

  it.each(cells.filter(({ expected }) => !isImpossible(expected['soft access'])).map(named))(
    '$name',
    async (cell) => {
      expect(await column.measure(cell)).toEqual(whole(cell.expected['soft access']));
    },
  );
});
