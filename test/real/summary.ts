// How results are shown: a line for each case, and a sum for each kernel and group.
import type { CaseReport, Outcome } from './case.js';

const words: Readonly<Record<Outcome, string>> = {
  passed: 'ok  ',
  failed: 'FAIL',
  skipped: 'skip',
};

/** One case, in a line, and what there is to say of it below. */
export function caseLine(kernel: string, report: CaseReport): string {
  const { name, outcome, tookMs, labels, detail } = report;
  const took = outcome === 'skipped' ? '' : ` (${(tookMs / 1000).toFixed(1)} s)`;
  const shown = labels.length === 0 ? '' : `  [${labels.join(' ')}]`;
  const line = `${words[outcome]}  ${kernel.padEnd(7)}  ${name}${shown}${took}`;
  if (detail === '') return line;
  return `${line}\n        ${detail.replaceAll('\n', '\n        ')}`;
}

export class Sums {
  readonly #rows = new Map<string, Record<Outcome, number>>();

  add(row: string, outcome: Outcome): void {
    const sums = this.#rows.get(row) ?? { passed: 0, failed: 0, skipped: 0 };
    sums[outcome] += 1;
    this.#rows.set(row, sums);
  }

  get total(): Readonly<Record<Outcome, number>> {
    const total = { passed: 0, failed: 0, skipped: 0 };
    for (const sums of this.#rows.values()) {
      for (const outcome of Object.keys(total) as Outcome[]) total[outcome] += sums[outcome];
    }
    return total;
  }

  /** The last line: all of it, and each row in brackets. */
  line(): string {
    const said = ({ passed, failed, skipped }: Record<Outcome, number>): string =>
      `${passed} passed, ${failed} failed, ${skipped} skipped`;
    const rows = [...this.#rows].map(([row, sums]) => {
      const bad = sums.failed + sums.skipped === 0 ? '' : `/-${sums.failed}/~${sums.skipped}`;
      return `${row} ${sums.passed}${bad}`;
    });
    return `${said(this.total)} (${rows.join('; ')})`;
  }
}
