// A worker that has an arena open and tells what it sees there.
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/errors.js';
import { createMemoryOs } from '../memory.js';
import { loadNative } from '../native.js';

/** `until`: spins on the word until it reads so, without any message from the other thread. */
export type ArenaCall =
  | { readonly do: 'load' | 'faults'; readonly index: number }
  | { readonly do: 'store' | 'until'; readonly index: number; readonly value: number };

const deadlineMs = 10_000;

function attend(id: number): void {
  const arena = createMemoryOs(loadNative()).openArena(id);
  const words = new Uint32Array(arena.buffer);

  function until(index: number, value: number): number {
    const startMs = performance.now();
    parentPort!.postMessage('spinning');
    while (words[index] !== value) {
      if (performance.now() - startMs > deadlineMs) return -1;
    }
    return 0;
  }

  function perform(call: ArenaCall): number {
    switch (call.do) {
      case 'load':
        return words[call.index]!;
      case 'faults':
        return arena.faults[call.index]!;
      case 'until':
        return until(call.index, call.value);
      case 'store':
        words[call.index] = call.value;
        return 0;
    }
  }

  parentPort!.on('message', (call: ArenaCall) => parentPort!.postMessage(perform(call)));
}

assert(parentPort !== null, 'started as a worker');
attend(workerData.id);
