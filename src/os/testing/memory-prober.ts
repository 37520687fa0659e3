// A worker that loads the first word of an arena as long as it is told to, and counts its turns.
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { createMemoryOs } from '../memory.js';
import { loadNative } from '../native.js';

/** Words of a page of its own, the second of the arena, that both threads use. */
export const proberWords = {
  pageOffsetBytes: 4096,
  turns: 1024,
  probing: 1025,
  delay: 1026,
} as const;

function probe(id: number): void {
  const words = new Uint32Array(createMemoryOs(loadNative()).openArena(id).buffer);
  parentPort!.postMessage('probing');
  for (let seen = 0; ; ) {
    if (words[proberWords.probing] === 1) seen ^= words[0]!;
    words[proberWords.turns] = (words[proberWords.turns]! + 1) >>> 0;
    if (seen === 7) parentPort!.postMessage(seen);
  }
}

if (!isMainThread) probe(workerData.id);
