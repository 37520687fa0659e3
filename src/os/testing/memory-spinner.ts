// Loads and stores in windows until they read all ones; a library, and a worker by itself.
import { isMainThread, workerData } from 'node:worker_threads';
import { assert } from '../../base/errors.js';
import { Fd } from '../fd.js';
import { createMemoryOs } from '../memory.js';
import { loadNative } from '../native.js';

/** Words of the window by which each thread shows that it is at work. */
export const spinnerWords = { main: 0, worker: 16 } as const;

const deadlineMs = 10_000;

/** Spins on the memory behind `fd`; throws when it is not revoked in time. */
export function spinUntilOnes(fd: number, name: keyof typeof spinnerWords): void {
  const native = loadNative();
  const spec = { offsetBytes: 0, lengthBytes: 65_536, writable: true, guard: 'ones' } as const;
  using mapping = createMemoryOs(native).map(new Fd(native, fd), spec);
  const words = new Uint32Array(mapping.buffer);
  const own = spinnerWords[name];
  const startMs = performance.now();
  let count = 0;
  // Nobody stores to this word: when it reads ones, it is the guard's.
  while (words[own + 8] !== 0xffff_ffff) {
    words[own] = ++count & 0xffff;
    words[own + 1] = words[own + 2]! & 0xffff;
    Atomics.store(words, own + 2, count & 0xffff);
    if ((count & 0xffff) === 0 && performance.now() - startMs > deadlineMs) break;
  }
  assert(words[words.length - 1] === 0xffff_ffff, 'the whole window reads ones');
  assert(mapping.revoked, 'the mapping knows');
}

if (!isMainThread) for (const fd of workerData.fds) spinUntilOnes(fd, 'worker');
