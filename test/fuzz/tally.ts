// What became of the frames: per role and command, how often each answer came.

export class Tally {
  readonly #rows = new Map<string, Map<string, number>>();

  add(row: string, outcome: string): void {
    const outcomes = this.#rows.get(row) ?? new Map<string, number>();
    this.#rows.set(row, outcomes);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }

  /** How often `row` had an outcome that `counts` likes. */
  count(row: string, counts: (outcome: string) => boolean): number {
    const outcomes = this.#rows.get(row) ?? new Map<string, number>();
    return [...outcomes].reduce((sum, [name, count]) => sum + (counts(name) ? count : 0), 0);
  }

  lines(): string[] {
    return [...this.#rows]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([row, outcomes]) => {
        const sorted = [...outcomes].sort((a, b) => b[1] - a[1]);
        return `${row}: ${sorted.map(([name, count]) => `${name} ${count}`).join(', ')}`;
      });
  }
}
