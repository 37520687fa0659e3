// Steps in order, undone in reverse when a later one fails.

export interface Step {
  run(): Promise<void> | void;
  /** Puts back what `run` changed. Called only when it had succeeded. */
  undo?(): Promise<void> | void;
}

/**
 * Runs steps in order. When one fails, those before it are undone, last first, and its error is
 * thrown; an undo that fails keeps no other from its turn.
 *
 * @param undoFailed - Told of each.
 */
export async function runSteps(
  steps: readonly Step[],
  undoFailed: (error: unknown) => void,
): Promise<void> {
  const done: Step[] = [];
  try {
    for (const step of steps) {
      await step.run();
      done.push(step);
    }
  } catch (error) {
    for (const step of done.reverse()) {
      try {
        await step.undo?.();
      } catch (cause) {
        undoFailed(cause);
      }
    }
    throw error;
  }
}
