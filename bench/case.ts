// What a benchmark is, what it yields, and how a result is judged against its target.
import type { FloorTools } from './floor.js';

/** What a result may be at most. Both limits, when both are given. */
export interface Target {
  /** In the row's unit. */
  readonly valueMax?: number;
  /** Times the floor measured in the same run. */
  readonly ratioMax?: number;
}

/** One figure of a case. */
export interface Figure {
  /** One of the case's `rows`. */
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same work without lessor, or a smaller case of it, from this run; in the same unit. */
  readonly floor?: number;
  /** Absent: reported, not judged. */
  readonly target?: Target;
  /** What the floor is, how many samples, the p99: one short line for people. */
  readonly note?: string;
}

export interface BenchContext {
  readonly floors: FloorTools;
  /** One line of progress, for people. */
  say(line: string): void;
}

/** Work that is set up once and yields some figures. */
export interface BenchCase {
  readonly name: string;
  /** The names of all its figures, known beforehand so that they can be filtered. */
  readonly rows: readonly string[];
  run(context: BenchContext): Promise<readonly Figure[]>;
}

/** The published shape of a result. */
export interface ResultRow {
  readonly name: string;
  readonly value: number | null;
  readonly unit: string;
  readonly floor: number | null;
  readonly ratio: number | null;
  /** For people: "2 x, 1 ns"; null where a figure is only reported. */
  readonly target: string | null;
  /** False when the target was missed or the case could not run. */
  readonly ok: boolean;
}

/** A row with what the table adds to it. */
export interface Judged {
  readonly row: ResultRow;
  readonly note: string;
  /** Set when the case could not run. */
  readonly failure?: string;
}

export function describeTarget(target: Target | undefined, unit: string): string | null {
  if (target === undefined) return null;
  const parts: string[] = [];
  if (target.ratioMax !== undefined) parts.push(`${target.ratioMax} x`);
  if (target.valueMax !== undefined) parts.push(`${target.valueMax} ${unit}`);
  return parts.join(', ');
}

/** Judges a figure. A ratio that is asked for and has no floor is a miss. */
export function judge(figure: Figure): Judged {
  const ratio = figure.floor === undefined ? null : figure.value / figure.floor;
  const { valueMax, ratioMax } = figure.target ?? {};
  const ok =
    Number.isFinite(figure.value) &&
    (valueMax === undefined || figure.value <= valueMax) &&
    (ratioMax === undefined || (ratio !== null && ratio <= ratioMax));
  return {
    row: {
      name: figure.name,
      value: round(figure.value),
      unit: figure.unit,
      floor: figure.floor === undefined ? null : round(figure.floor),
      ratio: ratio === null ? null : round(ratio),
      target: describeTarget(figure.target, figure.unit),
      ok,
    },
    note: figure.note ?? '',
  };
}

/** The row of a figure that could not be taken. */
export function failed(name: string, failure: string): Judged {
  return {
    row: { name, value: null, unit: '', floor: null, ratio: null, target: null, ok: false },
    note: failure,
    failure,
  };
}

/** The cases with at least one row that the filter admits. */
export function selectCases(
  cases: readonly BenchCase[],
  filter: RegExp | undefined,
): readonly BenchCase[] {
  if (filter === undefined) return cases;
  return cases.filter((one) => one.rows.some((name) => filter.test(name)));
}

/**
 * Runs one case. Rows outside the filter are left out; a row the case did not yield, and every row
 * of a case that threw, is reported as failed.
 */
export async function runCase(
  one: BenchCase,
  filter: RegExp | undefined,
  context: BenchContext,
): Promise<readonly Judged[]> {
  const wanted = one.rows.filter((name) => filter === undefined || filter.test(name));
  let figures: readonly Figure[];
  try {
    figures = await one.run(context);
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return wanted.map((name) => failed(name, failure));
  }
  return wanted.map((name) => {
    const figure = figures.find((candidate) => candidate.name === name);
    return figure === undefined ? failed(name, 'the case did not yield it') : judge(figure);
  });
}

/** Four significant digits: more would be noise. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}
