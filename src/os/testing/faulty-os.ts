// A native binding whose n-th call fails, to show that nothing leaks wherever a failure strikes.
import { type Errno, errnoNumber } from '../../base/errno.js';
import { assert, errnoOf } from '../../base/errors.js';
import type { NativeBinding } from '../native.js';
import { openDescriptors } from './open-descriptors.js';

export type NativeCallName = keyof NativeBinding;

/** Calls that do not fail on a valid handle, or whose result is not a number to begin with. */
const infallible: ReadonlySet<NativeCallName> = new Set<NativeCallName>([
  'pollUpdate',
  'pollStop',
  'pollReference',
  'pageBytes',
  'guardCheck',
  'guardFaults',
  'addressOf',
]);

interface Fault {
  readonly name: NativeCallName | undefined;
  readonly errno: Errno;
  callsLeft: number;
}

export class FaultyOs {
  /** Give this to `createOs`, or to anything that takes a part of the binding. */
  readonly binding: NativeBinding;
  #faults: Fault[] = [];
  #failedCall: NativeCallName | undefined;
  readonly #counts = new Map<NativeCallName, number>();

  /** @param inner - Does what does not fail. */
  constructor(inner: NativeBinding) {
    this.binding = new Proxy(inner, {
      get: (target, name) => {
        const call = Reflect.get(target, name) as unknown;
        if (typeof call !== 'function') return call;
        return (...given: unknown[]) => this.#call(name as NativeCallName, call, given);
      },
    });
  }

  /**
   * Lets the `nth` call from now on fail instead of doing anything; only `close` still closes, as
   * Linux does.
   *
   * @param nth - 1 is the next one.
   * @param name - Counts calls of this function alone; absent: of all that can fail.
   */
  failNth(nth: number, errno: Errno, name?: NativeCallName): void {
    assert(Number.isInteger(nth) && nth >= 1, `call number ${nth}`);
    assert(name === undefined || !infallible.has(name), `${name} cannot fail`);
    this.#faults.push({ name, errno, callsLeft: nth });
  }

  /** Forgets faults that did not strike yet, and the counts. */
  reset(): void {
    this.#faults = [];
    this.#failedCall = undefined;
    this.#counts.clear();
  }

  /** Which call failed last; undefined when none did. */
  get failedCall(): NativeCallName | undefined {
    return this.#failedCall;
  }

  /** How many calls that can fail were made, of one function or of all. */
  callCount(name?: NativeCallName): number {
    if (name !== undefined) return this.#counts.get(name) ?? 0;
    let sum = 0;
    for (const count of this.#counts.values()) sum += count;
    return sum;
  }

  #call(name: NativeCallName, call: object, given: unknown[]): unknown {
    const doIt = call as (...given: unknown[]) => unknown;
    if (infallible.has(name)) return doIt(...given);
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    let errno: Errno | undefined;
    for (const fault of this.#faults) {
      if (fault.name !== undefined && fault.name !== name) continue;
      fault.callsLeft--;
      if (fault.callsLeft === 0) errno = fault.errno;
    }
    if (errno === undefined) return doIt(...given);
    this.#faults = this.#faults.filter((fault) => fault.callsLeft > 0);
    this.#failedCall = name;
    if (name === 'close') doIt(...given);
    return -errnoNumber(errno);
  }
}

export interface FailEveryCallOptions {
  readonly errno?: Errno;
  /** Only calls of this function fail. */
  readonly name?: NativeCallName;
  /** Waits until the scenario's descriptors must be closed; twenty turns of the event loop. */
  readonly settle?: () => Promise<void>;
}

async function turnsOfEventLoop(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Runs a scenario once as it is and then once for every call it makes, with that call failing.
 * After each run the same descriptors must be open as before.
 *
 * @param scenario - Makes and ends everything itself, on failures too. Errors with an errno are
 *   expected to come out of it; others are passed on.
 * @returns How many calls were made to fail.
 */
export async function failEveryCall(
  inner: NativeBinding,
  scenario: (binding: NativeBinding) => Promise<void> | void,
  options: FailEveryCallOptions = {},
): Promise<number> {
  const { errno = 'EMFILE', name, settle = turnsOfEventLoop } = options;
  const faulty = new FaultyOs(inner);
  const before = openDescriptors();
  let failures = 0;
  for (let nth = 0; ; nth++) {
    faulty.reset();
    if (nth > 0) faulty.failNth(nth, errno, name);
    try {
      await scenario(faulty.binding);
    } catch (error) {
      if (nth === 0 || errnoOf(error) === undefined) throw error;
    }
    const struck = faulty.failedCall;
    await settle();
    const after = openDescriptors();
    const leaked = [...after].filter(([fd]) => !before.has(fd)).map(([, target]) => target);
    const lost = [...before].filter(([fd]) => !after.has(fd)).map(([, target]) => target);
    const where =
      struck === undefined ? 'without a failure' : `with call ${nth}, ${struck}, failed`;
    assert(leaked.length === 0, `${where}: leaked ${leaked.join(', ')}`);
    assert(lost.length === 0, `${where}: closed what is not its own: ${lost.join(', ')}`);
    if (nth > 0 && struck === undefined) return failures;
    if (struck !== undefined) failures++;
  }
}
