// Mutations that no test can tell, each with the reason. A row that a test does kill, or that
// matches nothing any more, fails the run.

export interface Unreachable {
  /** File, function, kind and text, as the listing has them. */
  readonly key: string;
  readonly reason: string;
}

export const unreachable: readonly Unreachable[] = [];
