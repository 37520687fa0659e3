// A worker that loads the addon and installs the guard, and ends.
import { createMemoryOs } from '../memory.js';
import { loadNative } from '../native.js';

createMemoryOs(loadNative()).createArena(2 ** 21);
