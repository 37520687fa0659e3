// Measures every cell of the fault matrix in every column. Only in the test machine.
import { createOs } from '../../../src/os/index.js';
import { type Cell, type Column, cells, columns } from './cells.js';
import { DmaColumn } from './dma-column.js';
import { judge, type Measured } from './judge.js';
import { MockColumn } from './mock-column.js';
import { describe, isImpossible, type Outcome } from './outcome.js';
import { type Measurer, openSoftAccessColumn, openSoftColumn } from './soft-column.js';
import { openVfioRig } from './vfio-rig.js';

export interface MatrixRow {
  readonly cell: Cell;
  readonly measured: Measured;
}

export interface MatrixResult {
  readonly rows: readonly MatrixRow[];
  /** What is wrong, a line each. */
  readonly failures: readonly string[];
}

/** @param say - Hears a line for each cell, of what is wrong with it, and what it comes to. */
export async function runFaultMatrix(say: (line: string) => void): Promise<MatrixResult> {
  const os = createOs();
  await using soft = await openSoftColumn(os.memory);
  using softAccess = openSoftAccessColumn(os.memory);
  using rig = await openVfioRig(os);
  using mock = new MockColumn(os);
  const measurers = { soft, vfio: new DmaColumn(rig), 'soft access': softAccess, mock };
  const rows: MatrixRow[] = [];
  const failures: string[] = [];
  for (const cell of cells) {
    const measured = await measureCell(cell, measurers);
    rows.push({ cell, measured });
    say(lineOf(cell, measured));
    for (const wrong of judge(cell, measured)) {
      failures.push(`${cell.access}, ${cell.state}: ${wrong}`);
      say(`  WRONG: ${wrong}`);
    }
  }
  say(summaryOf(rows, failures));
  return { rows, failures };
}

async function measureCell(
  cell: Cell,
  measurers: Readonly<Record<Column, Measurer>>,
): Promise<Measured> {
  const measured: Record<string, Outcome> = {};
  for (const column of columns) {
    if (isImpossible(cell.expected[column])) continue;
    measured[column] = await measurers[column].measure(cell);
  }
  return measured;
}

function lineOf(cell: Cell, measured: Measured): string {
  const parts = columns.map((column) => {
    return `${column} ${describe(measured[column] ?? cell.expected[column])}`;
  });
  return `${cell.access}, ${cell.state} | ${parts.join(' | ')}`;
}

function summaryOf(rows: readonly MatrixRow[], failures: readonly string[]): string {
  const impossible = cells.flatMap(({ expected }) =>
    columns.filter((column) => isImpossible(expected[column])),
  ).length;
  const meant = cells.flatMap(({ differs = {} }) => Object.keys(differs)).length;
  const measured = rows.flatMap((row) => Object.keys(row.measured)).length;
  const counts = `${measured} measured, ${impossible} impossible, ${meant} meant to differ`;
  return `fault matrix: ${rows.length} rows, ${counts}, ${failures.length} wrong`;
}
