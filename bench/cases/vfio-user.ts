// vfio-user over a socket, both ends on one CPU: a C client with a C server, with our server, and
// our client with our server.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchCase, BenchContext, Figure, Target } from '../case.js';
import type { FloorTools, Sampler } from '../floor.js';
import { interleave } from '../interleave.js';

interface Work {
  readonly name: string;
  /** As the clients know it. */
  readonly operation: string;
  /** Operations in one sample: long enough to time, short enough to fit between other tasks. */
  readonly batch: number;
  /** With our server alone, and with our client too. */
  readonly targets?: readonly [Target, Target];
}

const works: readonly Work[] = [
  {
    name: 'read 4 bytes',
    operation: 'read',
    batch: 20,
    targets: [{ ratioMax: 2 }, { ratioMax: 3 }],
  },
  { name: 'read 4 bytes, 32 in flight', operation: 'read32', batch: 320 },
  { name: 'posted write', operation: 'posted', batch: 500 },
  { name: 'map+unmap 1 MiB', operation: 'map', batch: 5 },
  { name: 'DMA read 4 KiB by message', operation: 'dma-read', batch: 10 },
  { name: 'DMA write 4 KiB by message', operation: 'dma-write', batch: 10 },
];
const kinds = ['server', 'both ends'] as const;
const samplesPerRound = 40;
const rounds = 10;
const onOneCpu = { cpuIndex: 0 };

function rowName(work: Work, kind: (typeof kinds)[number]): string {
  return `vfio-user/${work.name}, ${kind}`;
}

/** Starts a server and waits until it listens. */
async function startServer(server: Sampler): Promise<Sampler> {
  try {
    await server.line();
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

async function measure(floors: FloorTools, folder: string): Promise<Figure[]> {
  const cPath = join(folder, 'c.sock');
  const ourPath = join(folder, 'ours.sock');
  await using _cServer = await startServer(floors.floor('vfio-user-server', [cPath], onOneCpu));
  await using _server = await startServer(floors.child('vfio-user-server', [ourPath], onOneCpu));
  await using cOnC = floors.floor('vfio-user-client', [cPath], onOneCpu);
  await using cOnOurs = floors.floor('vfio-user-client', [ourPath], onOneCpu);
  await using oursOnOurs = floors.child('vfio-user-client', [ourPath], onOneCpu);
  const figures: Figure[] = [];
  for (const work of works) {
    const { operation, batch, targets } = work;
    const [floor, ...ours] = await interleave(
      rounds,
      [cOnC, cOnOurs, oursOnOurs].map(
        (client) => () => client.sample(operation, samplesPerRound, batch),
      ),
    );
    for (const [index, kind] of kinds.entries()) {
      const { p50, count } = ours[index]!;
      const perSecond = `${Math.round(1e9 / p50)} a second, C ${Math.round(1e9 / floor!.p50)}`;
      const target = targets?.[index];
      figures.push({
        name: rowName(work, kind),
        value: p50 / 1000,
        unit: 'us',
        floor: floor!.p50 / 1000,
        ...(target === undefined ? {} : { target }),
        note: `${perSecond}; p50 of ${count} x ${batch}`,
      });
    }
  }
  return figures;
}

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-bench-vfio-user-'));
  try {
    return await measure(floors, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const vfioUser: BenchCase = {
  name: 'vfio-user, both ends on one CPU; floor: C client with C server',
  rows: works.flatMap((work) => kinds.map((kind) => rowName(work, kind))),
  run,
};
