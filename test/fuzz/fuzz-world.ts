// Sockets and descriptors for a batch: in memory, or of the kernel with files of all kinds.
import { openSync } from 'node:fs';
import { OsEvents } from '../../src/os/events.js';
import { Fd } from '../../src/os/fd.js';
import { loadNative } from '../../src/os/native.js';
import { kernelWorld, memoryWorld, type World } from '../../src/vfio-user/testing/world.js';
import type { Random } from './random.js';

export interface FuzzWorld {
  readonly world: World;
  readonly isKernel: boolean;
  /** A descriptor of some kind. */
  any(random: Random): Fd;
}

export function inMemory(): FuzzWorld {
  const world = memoryWorld();
  return { world, isKernel: false, any: () => world.open('file') };
}

export function onKernel(): FuzzWorld {
  const world = kernelWorld();
  const native = loadNative();
  const events = new OsEvents(native);
  const any = (random: Random): Fd => {
    switch (random.below(5)) {
      case 0:
        return new Fd(native, openSync('/dev/null', 'r'));
      case 1:
        return new Fd(native, openSync('/', 'r'));
      case 2: {
        const [one, other] = world.pair();
        other[Symbol.dispose]();
        const copy = one.fd.duplicate();
        one[Symbol.dispose]();
        return copy;
      }
      case 3:
        return events.createEventFd();
      default:
        return world.open('file');
    }
  };
  return { world, isKernel: true, any };
}
