// What the tests of mapped windows share: a fixture, windows that end with their test, and the
// client's side of them.
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Mapping } from '../../os/memory-types.js';
import type { Window } from '../types.js';
import {
  type CounterFixture,
  countOf,
  eventually,
  type FunctionTraits,
  openFrame,
} from './counter-fixture.js';

export class WindowSuite {
  readonly traits: FunctionTraits;
  readonly #opened: AsyncDisposable[] = [];
  #fixture: CounterFixture | undefined;

  /** Within a `describe`. `make` is called once and its result disposed. */
  constructor(traits: FunctionTraits, make: () => Promise<CounterFixture>) {
    this.traits = traits;
    beforeAll(async () => {
      this.#fixture = await make();
    });
    afterEach(async () => {
      for (const window of this.#opened.splice(0)) await window[Symbol.asyncDispose]();
    });
    afterAll(() => this.#fixture?.[Symbol.asyncDispose]());
  }

  /** Within a test. */
  get fixture(): CounterFixture {
    return this.#fixture!;
  }

  /** Disposed at the end of the test. */
  keep<T extends AsyncDisposable>(one: T): T {
    this.#opened.push(one);
    return one;
  }

  /** A window on the writable frame of one counter, not connected. */
  async open(index: number): Promise<Window> {
    return this.keep(await openFrame(this.fixture, index));
  }

  /** Maps as a client does: guarded, so that a revoked mapping reads ones. */
  mapAsClient(window: Window, writable = true): Mapping & { u32: Uint32Array } {
    const { lengthBytes } = window;
    const spec = { offsetBytes: 0, lengthBytes, writable, guard: 'ones' } as const;
    const mapping = this.fixture.memory.map(window.fd!, spec);
    return Object.assign(mapping, { u32: new Uint32Array(mapping.buffer) });
  }

  /** Resolves when a counter has come to `count`. */
  reaches(index: number, count: number): Promise<void> {
    return eventually(
      this.fixture.clock,
      `counter ${index} at ${count}`,
      async () => (await countOf(this.fixture, index)) === count,
    );
  }
}
