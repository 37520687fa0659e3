// The contracts of functions and windows, on a function that a vfio-user server serves.
import { pciFunctionContract } from '../testing/function-contract.js';
import { createServedFixture } from '../testing/served-fixture.js';
import { windowContract } from '../testing/window-contract.js';

const traits = { mapsWindows: false, pasids: false, seesFaults: false };

pciFunctionContract('served over vfio-user', traits, () => createServedFixture());
windowContract('served over vfio-user', traits, () => createServedFixture());

const mapped = { ...traits, mapsWindows: true };

pciFunctionContract('served with windows', mapped, () => createServedFixture({}, true));
windowContract('served with windows', mapped, () => createServedFixture({}, true));
