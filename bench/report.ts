// Results for people and for programs.
import type { Judged } from './case.js';
import type { Machine } from './machine.js';

function number(value: number | null): string {
  return value === null ? '' : value >= 1000 ? value.toFixed(0) : String(value);
}

/** One line each; misses and failures are marked at the line's end. */
export function formatTable(results: readonly Judged[]): string {
  const head = ['', 'value', 'unit', 'floor', 'ratio', 'at most', ''];
  const lines = results.map(({ row, failure, note }) => [
    row.name,
    number(row.value),
    row.unit,
    number(row.floor),
    row.ratio === null ? '' : row.ratio.toFixed(2),
    row.target ?? '',
    failure !== undefined ? 'COULD NOT RUN' : row.ok ? (row.target ? 'ok' : '') : 'MISSED',
    note,
  ]);
  const rightAligned = new Set([1, 3, 4]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...lines].map((line) => line[column]?.length ?? 0)),
  );
  return [head, ...lines]
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return rightAligned.has(column) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One sentence per missed target, none when all were met. */
export function formatMisses(results: readonly Judged[]): string[] {
  return results
    .filter(({ row, failure }) => !row.ok && failure === undefined)
    .map(({ row }) => {
      const ratio = row.ratio === null ? '' : `, ${row.ratio} x its floor`;
      return `missed: ${row.name} is ${row.value} ${row.unit}${ratio}; at most ${row.target}`;
    });
}

/** What `--json` prints: the rows alone. */
export function formatJson(results: readonly Judged[]): string {
  return `[\n${results.map(({ row }) => `  ${JSON.stringify(row)}`).join(',\n')}\n]\n`;
}

/** What is kept on disk: the rows, and where they were measured. */
export function formatRecord(results: readonly Judged[], machine: Machine): string {
  return `${JSON.stringify({ machine, results: results.map(({ row }) => row) }, null, 2)}\n`;
}
