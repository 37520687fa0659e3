// What a command of the random test is: how its arguments are drawn, the call they make, and what
// its result tells about what is live now.
import type fc from 'fast-check';
import type { Call, Done } from './call.js';
import type { WorldMemory } from './memory.js';
import type { State } from './state.js';

/** What a call is before it is known how its structure is handed over. */
export interface Draft {
  readonly request: number;
  readonly argument: Uint8Array | number;
  readonly data?: Call['data'];
  readonly descriptors?: Call['descriptors'];
  readonly descriptorAt?: number;
  readonly file?: NonNullable<Call['file']>;
  readonly text: string;
}

export interface World {
  readonly memory: WorldMemory;
  /** Numbers of files of every sort, by what is special about them. */
  readonly files: readonly { readonly name: string; readonly number: number }[];
}

export interface Command<A> {
  readonly name: string;
  readonly weight: number;
  readonly args: fc.Arbitrary<A>;
  draft(args: A, state: State, world: World): Draft;
  /** After a call that succeeded. */
  learn?(args: A, done: Done, state: State, world: World): void;
}

export function defineCommand<A>(command: Command<A>): Command<A> {
  return command;
}
