// Takes a window of 64 KiB away from a client that is busy reading it: `revoke <others>`, with that
// many other windows connected. What is timed is detach and zap, the broker's share of a revoke.
import { spawn } from 'node:child_process';
import { assert } from '../../src/base/errors.js';
import { KiB } from '../../src/base/units.js';
import { mqdma } from '../../src/device/mqdma/datasheet.js';
import { createEmulatedFunction } from '../../src/function/emulated/index.js';
import type { Window } from '../../src/function/types.js';
import { createOs } from '../../src/os/index.js';
import { childProgram } from '../paths.js';
import { serveSamples } from './sampling.js';

const lengthBytes = 64 * KiB;
const zapDeadlineMs = 1000;
const otherCount = Number(process.argv[2]);
const terms = { uid: process.getuid?.() ?? 0 };

const os = createOs();
const helpers = os.createHelpers();
const fn = await createEmulatedFunction({
  os,
  helpers,
  name: 'bench',
  device: {
    module: new URL('../../src/device/mqdma/create.js', import.meta.url).href,
    exportName: 'createMqdma',
    options: { queueCount: mqdma.queueCountMax, pageBytes: lengthBytes },
  },
});

/** The read-write page of a queue. */
async function openQueueWindow(queue: number): Promise<Window> {
  const ranges = [{ offsetBytes: queue * 2 * lengthBytes, lengthBytes }];
  return fn.openWindow({ region: mqdma.queueRegion, ranges, access: 'read-write' }, terms);
}

for (let queue = 1; queue <= otherCount; queue++) {
  const window = await openQueueWindow(queue);
  await window.connect();
}

const [ours, theirs] = os.sockets.pair();
const holder = spawn(process.execPath, [childProgram('window-holder')], {
  stdio: ['ignore', 'inherit', 'inherit', theirs.number],
});
theirs.close();
const socket = os.sockets.stream(ours);
let answered: (() => void) | undefined;
socket.start(
  {
    wantBytes: () => 1,
    data: () => answered?.(),
    end: () => assert(answered === undefined, 'the holder of the window died'),
  },
  { fdsMax: 0 },
);

async function revokeOnce(): Promise<number> {
  const window = await openQueueWindow(0);
  const answer = new Promise<void>((resolve) => {
    answered = resolve;
  });
  socket.send(Uint8Array.of(1), [window.fd!.duplicate()]);
  await answer;
  answered = undefined;
  await window.connect();
  const startMs = performance.now();
  await window.detach();
  const outcome = await window.zap(zapDeadlineMs);
  const spentNs = (performance.now() - startMs) * 1e6;
  assert(outcome === 'gone', 'the window was not zapped');
  await window[Symbol.asyncDispose]();
  return spentNs;
}

async function revoke(sampleCount: number): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < sampleCount; index++) samples.push(await revokeOnce());
  return samples;
}

await serveSamples({ revoke });
socket[Symbol.dispose]();
holder.kill('SIGKILL');
await fn[Symbol.asyncDispose]();
await helpers[Symbol.asyncDispose]();
