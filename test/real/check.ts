// What a case expects, in words that tell what was found instead.
import { isDeepStrictEqual } from 'node:util';

/** @throws Error unless it holds. */
export function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

export function checkEqual(found: unknown, wanted: unknown, what: string): void {
  if (isDeepStrictEqual(found, wanted)) return;
  throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

export function checkMatch(found: string, pattern: RegExp, what: string): void {
  if (!pattern.test(found)) throw new Error(`${what}: ${JSON.stringify(found)}, not ${pattern}`);
}
