// One step of a random sequence: a command, its arguments, and how its structure is handed over.
import fc from 'fast-check';
import type { Call } from './call.js';
import type { Command, World } from './command.js';
import { type Frame, frame, framed } from './frame.js';
import type { State } from './state.js';

export interface Operation {
  readonly command: Command<never>;
  readonly args: never;
  readonly frame: Frame;
}

/** Any of some commands, each as often as it weighs. */
export function operationOf(commands: readonly Command<never>[]): fc.Arbitrary<Operation> {
  return fc.oneof(
    ...commands.map((command) => ({
      weight: Math.max(1, Math.round(command.weight * 10)),
      arbitrary: fc.record({ command: fc.constant(command), args: command.args, frame }),
    })),
  );
}

export function callOf({ command, args, frame: how }: Operation, state: State, world: World): Call {
  return framed(command.name, command.draft(args, state, world), how);
}
