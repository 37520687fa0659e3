// What was done: operations, successes, and which command gave which errno.
import { errnoName } from '../../src/base/errno.js';
import type { Call } from './call.js';
import type { Step } from './lockstep.js';

export class Tally {
  operations = 0;
  succeeded = 0;
  /** How often a command gave an errno, by `command errno`. */
  readonly pairs = new Map<string, number>();
  readonly successes = new Map<string, number>();
  readonly deviations = new Map<string, number>();

  /** As text, to go on with in another process. */
  toText(): string {
    const { operations, succeeded } = this;
    const maps = [this.pairs, this.successes, this.deviations].map((map) => [...map]);
    return JSON.stringify({ operations, succeeded, maps });
  }

  static fromText(text: string): Tally {
    const { operations, succeeded, maps } = JSON.parse(text) as {
      operations: number;
      succeeded: number;
      maps: [string, number][][];
    };
    const tally = new Tally();
    tally.operations = operations;
    tally.succeeded = succeeded;
    [tally.pairs, tally.successes, tally.deviations].forEach((map, index) => {
      for (const [key, count] of maps[index]!) map.set(key, count);
    });
    return tally;
  }

  count(call: Call, step: Step, deviation: string | undefined): void {
    const { result } = step.done;
    this.operations += 1;
    if (result >= 0) {
      this.succeeded += 1;
      add(this.successes, call.name);
    } else {
      add(this.pairs, `${call.name} ${errnoName(-result)}`);
    }
    if (deviation !== undefined) add(this.deviations, deviation);
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
