// Tables for people, JSON for programs. Only what was asked for goes to stdout.
import { styleText } from 'node:util';

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
}

/** Lines of a table whose columns are as wide as their widest cell. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string[] {
  const cells = [columns.map(({ title }) => title)];
  for (const row of rows) cells.push(columns.map(({ cell }) => cell(row)));
  const widths = columns.map((_, index) =>
    Math.max(...cells.map((line) => (line[index] as string).length)),
  );
  return cells.map((line) =>
    line
      .map((cell, index) => (index === line.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

export function printLines(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

export function printTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
  const [head = '', ...rest] = table(rows, columns);
  printLines([process.stdout.isTTY ? styleText('bold', head) : head, ...rest]);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** One of many, or one to wait for: a line of its own. */
export function printJsonLine(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** For people, on stderr. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** 65536 -> "64 KiB". */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Milliseconds as "12 s" or "3 min". */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}
