// Whether what was measured is what was expected, and the same on the kernel as in software.
import { type Cell, type Column, columns, type KernelColumn } from './cells.js';
import { describe, isImpossible, isSame, type Outcome } from './outcome.js';

/** What was measured of a cell; without the columns that it cannot be measured in. */
export type Measured = Partial<Readonly<Record<Column, Outcome>>>;

/** What is wrong with a cell, a sentence each. */
export function judge({ expected, differs = {} }: Cell, measured: Measured): string[] {
  const wrong: string[] = [];
  for (const column of columns) {
    const wanted = expected[column];
    const found = measured[column];
    if (isImpossible(wanted)) continue;
    if (found === undefined) wrong.push(`${column} was not measured`);
    else if (!isSame(found, wanted)) {
      wrong.push(`${column} is "${describe(found)}" and not "${describe(wanted)}"`);
    }
  }
  for (const kernel of ['vfio', 'mock'] as const) {
    const difference = differenceOf(kernel, measured);
    const reason = differs[kernel];
    if (difference !== undefined && reason === undefined) wrong.push(difference);
    if (difference === undefined && reason !== undefined) {
      wrong.push(`${kernel} does not differ, and a reason is given: ${reason}`);
    }
  }
  return wrong;
}

/**
 * Accesses are the same in errno as well. Devices are the same in what moves: their IOMMUs have
 * other words for the reasons.
 */
function differenceOf(kernel: KernelColumn, measured: Measured): string | undefined {
  const isAccess = kernel === 'mock' && measured['soft access'] !== undefined;
  const software = isAccess ? 'soft access' : 'soft';
  const found = measured[kernel];
  const counterpart = measured[software];
  if (found === undefined || counterpart === undefined) return undefined;
  const same = isAccess ? isSame(found, counterpart) : found.moved === counterpart.moved;
  if (same) return undefined;
  return `${kernel} is "${describe(found)}", ${software} "${describe(counterpart)}"`;
}
