// Which mutations are reached, and which one is live: what instrumented code asks.

declare global {
  var mutationOff: (number: number) => boolean;
}

/** No check is taken away. */
export const nothing = -1;

let live = nothing;
let reached = new Set<number>();

export function install(): void {
  globalThis.mutationOff = (number) => {
    reached.add(number);
    return number === live;
  };
}

export function takeAway(number: number): void {
  live = number;
}

/** What was reached since the last call. */
export function takeReached(): ReadonlySet<number> {
  const found = reached;
  reached = new Set();
  return found;
}
