// The contracts of functions and windows, on the emulated function with real helper processes.
import { afterAll } from 'vitest';
import { OsHelperPool } from '../../os/helper/pool.js';
import { loadNative } from '../../os/native.js';
import { createEmulatedFixture, realOs } from '../testing/emulated-fixture.js';
import { pciFunctionContract } from '../testing/function-contract.js';
import { windowContract } from '../testing/window-contract.js';

const helpers = new OsHelperPool(loadNative(), realOs.clock);

afterAll(() => helpers[Symbol.asyncDispose]());

const traits = { mapsWindows: true, pasids: true, seesFaults: true };

pciFunctionContract('emulated', traits, () => createEmulatedFixture({ helpers }));
windowContract('emulated', traits, () => createEmulatedFixture({ helpers }));
