// What became of an access, as it is measured and as it is expected.

/** Where the bytes went, or came from. */
export type Moved = 'all' | 'nothing' | 'up to the hole' | 'other memory' | 'something else';

export interface Outcome {
  readonly moved: Moved;
  /** Reason of the fault, or errno; undefined: nothing was refused. */
  readonly because?: string | undefined;
}

/** A cell that cannot be measured, and why. */
export interface Impossible {
  readonly impossible: string;
}

export type Expected = Outcome | Impossible;

export function isImpossible(expected: Expected): expected is Impossible {
  return 'impossible' in expected;
}

/** For people. */
export function describe(expected: Expected): string {
  if (isImpossible(expected)) return `impossible: ${expected.impossible}`;
  const { moved, because } = expected;
  const what = {
    all: 'moved',
    nothing: because === undefined ? 'nothing moved, unnoticed' : 'refused',
    'up to the hole': 'moved up to the hole',
    'other memory': 'moved in the new memory',
    'something else': 'moved something else',
  }[moved];
  return because === undefined ? what : `${what}: ${because}`;
}

export function isSame(one: Outcome, other: Outcome): boolean {
  return one.moved === other.moved && one.because === other.because;
}
