// Where the story plays, and how much of everything there is of it there.

export interface Venue {
  /** What `lessor serve --function` is told; undefined: a function of the broker's own. */
  readonly source: string | undefined;
  readonly operationsEach: number;
  readonly roundTrips: number;
  readonly messageRoundTrips: number;
  /** Longer than a client needs to die, shorter than the deadline of quiesce. */
  readonly lateDmaMs: number;
}

export const emulatedVenue: Venue = {
  source: undefined,
  operationsEach: 8000,
  roundTrips: 20_000,
  messageRoundTrips: 400,
  lateDmaMs: 60,
};

/** A function that is there. It may be a slow one, in a machine that is emulated. */
export function functionVenue(source: string): Venue {
  return {
    source,
    operationsEach: 1024,
    roundTrips: 2000,
    messageRoundTrips: 100,
    lateDmaMs: 250,
  };
}
