// An emulated function over a CounterDevice on the real operating system.

import type { Logger } from '../../base/log.js';
import { systemClock } from '../../os/clock.js';
import { OsEvents } from '../../os/events.js';
import type { HelperPool } from '../../os/helper-types.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import {
  createEmulatedFunction,
  type EmulatedOptions,
  type EmulatedOs,
} from '../emulated/index.js';
import type { CounterOptions } from './counter-device.js';
import type { CounterFixture } from './counter-fixture.js';
import { DirectHelpers } from './direct-helpers.js';

export interface EmulatedFixture extends CounterFixture {
  readonly helpers: HelperPool;
}

export interface EmulatedFixtureOptions
  extends Partial<Omit<EmulatedOptions, 'os' | 'device' | 'helpers' | 'log'>> {
  readonly device?: Partial<CounterOptions>;
  readonly helpers?: HelperPool;
  readonly log?: Logger;
  readonly os?: EmulatedOs;
}

const native = loadNative();
export const realOs = {
  memory: createMemoryOs(native),
  events: new OsEvents(native),
  clock: systemClock,
};

/** A small arena: address space is never given back. */
export async function createEmulatedFixture(
  options: EmulatedFixtureOptions = {},
): Promise<EmulatedFixture> {
  const helpers = options.helpers ?? new DirectHelpers(realOs.memory);
  const fn = await createEmulatedFunction({
    arenaBytes: 2 ** 30,
    name: 'counter',
    os: realOs,
    ...options,
    helpers,
    device: {
      module: new URL('./counter-device.js', import.meta.url).href,
      exportName: 'createCounter',
      options: { frameCount: 4, pageBytes: realOs.memory.pageBytes, ...options.device },
    },
  });
  return {
    fn,
    helpers,
    ...realOs,
    [Symbol.asyncDispose]: () => fn[Symbol.asyncDispose](),
  };
}
