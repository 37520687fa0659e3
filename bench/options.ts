// The command line of the benchmarks.

export interface BenchOptions {
  readonly json: boolean;
  /** Lists row names instead of measuring. */
  readonly list: boolean;
  readonly filter: RegExp | undefined;
}

export const usage = `usage: npm run bench [-- [--json] [--list] [name filter]]
  --json   results as JSON on stdout; progress stays on stderr
  --list   names only
  filter   a regular expression over row names, for example '^register/'`;

/** The options, or one sentence that says what is wrong with them. */
export function parseOptions(args: readonly string[]): BenchOptions | string {
  let json = false;
  let list = false;
  let filter: RegExp | undefined;
  for (const arg of args) {
    if (arg === '--json') json = true;
    else if (arg === '--list') list = true;
    else if (arg.startsWith('-')) return `unknown option ${arg}`;
    else if (filter !== undefined) return 'more than one name filter';
    else {
      try {
        filter = new RegExp(arg);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
  }
  return { json, list, filter };
}
