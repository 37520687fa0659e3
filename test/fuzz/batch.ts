// What one batch is given, and the plan of which batch does what.
import type { FuzzWorld } from './fuzz-world.js';
import type { Shape } from './mutate.js';
import type { Random } from './random.js';
import type { RecordedCommands } from './recorded.js';
import type { Tally } from './tally.js';

export interface Batch {
  readonly random: Random;
  readonly fuzzWorld: FuzzWorld;
  readonly tally: Tally;
  /** Right commands of a client, ours and QEMU's. */
  readonly seeds: readonly Shape[];
  readonly recorded: RecordedCommands;
  /** At most so many, as long as the connection lives. */
  readonly frames: number;
  /** Throws with the text when the condition does not hold. */
  readonly check: (condition: boolean, what: () => string) => void;
}
