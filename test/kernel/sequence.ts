// A sequence of operations on a fresh context of each side, up to the first difference.
import type { Call } from './call.js';
import type { World } from './command.js';
import { pasidDetachDraft } from './commands/mock.js';
import { isMeant } from './deviations.js';
import { framed } from './frame.js';
import { Lockstep, type Step } from './lockstep.js';
import { callOf, type Operation } from './operation.js';
import type { Side } from './side.js';
import { State } from './state.js';

export interface Sides {
  open(): readonly [Side, Side];
}

/** Told of every call that both did alike, or in a meant way differently. */
export type Watcher = (call: Call, step: Step, deviation: string | undefined) => void;

export interface Mismatch {
  readonly lines: readonly string[];
}

export function runSequence(
  world: World,
  sides: Sides,
  operations: readonly Operation[],
  watch: Watcher,
): Mismatch | undefined {
  const [one, other] = sides.open();
  const lockstep = new Lockstep(world.memory, one, other);
  const state = new State();
  const lines: string[] = [];
  try {
    for (const operation of operations) {
      const call = callOf(operation, state, world);
      const step = lockstep.run(call);
      lines.push(lineOf(call, step, one.name, other.name));
      const deviation = step.difference === undefined ? undefined : isMeant(call, step);
      if (step.difference !== undefined && deviation === undefined) return { lines };
      watch(call, step, deviation);
      // After a meant difference both may have something else.
      if (deviation !== undefined) return undefined;
      if (step.done.result >= 0) {
        operation.command.learn?.(operation.args, step.done, state, world);
      }
    }
    return undefined;
  } finally {
    for (const mock of state.ids('mock')) {
      for (const pasid of state.pasidsOf(mock)) {
        lockstep.run(framed('pasid detach', pasidDetachDraft(mock, pasid), { kind: 'right' }));
      }
    }
    one.close();
    other.close();
  }
}

function lineOf(call: Call, step: Step, one: string, other: string): string {
  const what = `${call.name} ${call.text}`;
  if (step.difference === undefined) return `${what} -> ${step.one}`;
  return `${what} -> ${one}: ${step.one}, ${other}: ${step.other}; they differ in ${step.difference}`;
}
