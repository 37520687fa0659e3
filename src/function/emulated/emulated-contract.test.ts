// The contracts of functions and windows, on the emulated function.
import { createEmulatedFixture } from '../testing/emulated-fixture.js';
import { pciFunctionContract } from '../testing/function-contract.js';
import { windowContract } from '../testing/window-contract.js';

pciFunctionContract('emulated', () => createEmulatedFixture());
windowContract('emulated', () => createEmulatedFixture());
