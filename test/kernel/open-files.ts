// The descriptors that a map of a file may name, one of every sort.
import type { Fd } from '../../src/os/fd.js';
import { createOs } from '../../src/os/index.js';
import { F_SEAL_SHRINK, F_SEAL_WRITE } from '../../src/os/memory-types.js';
import type { World } from './command.js';
import type { WorldMemory } from './memory.js';

const O_RDONLY = 0;
const O_RDWR = 2;
const neverOpen = 1_000_000;

/** Stay open to the end of the process. */
export function openFiles(memory: WorldMemory): {
  readonly files: World['files'];
  readonly descriptors: readonly Fd[];
} {
  const os = createOs();
  const sealed = os.memory.create('sealed', 0x10_0000);
  os.memory.addSeals(sealed, F_SEAL_WRITE | F_SEAL_SHRINK);
  const descriptors = {
    'the pool': memory.pool,
    'a small memfd': os.memory.create('small', 0x1800),
    'a read-only descriptor': os.memory.reopenReadOnly(memory.pool),
    'a sealed memfd': sealed,
    'an ordinary file': os.ioctl.open('/proc/self/exe', O_RDONLY),
    'a character device': os.ioctl.open('/dev/null', O_RDWR),
  };
  const files = Object.entries(descriptors).map(([name, { number }]) => ({ name, number }));
  return {
    files: [
      ...files,
      { name: 'a closed descriptor', number: neverOpen },
      { name: 'descriptor -1', number: -1 },
    ],
    descriptors: Object.values(descriptors),
  };
}
