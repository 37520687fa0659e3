// vfio-user over a socket, both ends on one CPU: a C client with a C server, with our server (an
// endpoint, and a device of `serveDevice`), and our client with our server.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchCase, BenchContext, Figure, Target } from '../case.js';
import type { FloorTools, Sampler } from '../floor.js';
import { interleave } from '../interleave.js';

/** What takes the place of C: the server, as an endpoint or a device, or the client too. */
type Kind = 'server' | 'served device' | 'both ends';

interface Work {
  readonly name: string;
  /** As the clients know it. */
  readonly operation: string;
  /** Operations in one sample: long enough to time, short enough to fit between other tasks. */
  readonly batch: number;
  readonly kinds: readonly Kind[];
  readonly targets?: Readonly<Record<Kind, Target>>;
}

const registers: readonly Kind[] = ['server', 'served device', 'both ends'];
/** The C server masters the bus unasked, of memory that was never mapped; a PCI device may not. */
const messages: readonly Kind[] = ['server', 'both ends'];

const works: readonly Work[] = [
  {
    name: 'read 4 bytes',
    operation: 'read',
    batch: 20,
    kinds: registers,
    targets: {
      server: { ratioMax: 2 },
      'served device': { ratioMax: 2 },
      'both ends': { ratioMax: 3 },
    },
  },
  { name: 'read 4 bytes, 32 in flight', operation: 'read32', batch: 320, kinds: registers },
  { name: 'posted write', operation: 'posted', batch: 500, kinds: registers },
  { name: 'map+unmap 1 MiB', operation: 'map', batch: 5, kinds: registers },
  { name: 'DMA read 4 KiB by message', operation: 'dma-read', batch: 10, kinds: messages },
  { name: 'DMA write 4 KiB by message', operation: 'dma-write', batch: 10, kinds: messages },
];
/** Operations before the first sample: a server runs for long, most of it in compiled code. */
const warmUpCount = 5000;
const samplesPerRound = 40;
const rounds = 10;
const onOneCpu = { cpuIndex: 0 };

function rowName(work: Work, kind: Kind): string {
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
  const servedPath = join(folder, 'served.sock');
  await using _cServer = await startServer(floors.floor('vfio-user-server', [cPath], onOneCpu));
  await using _server = await startServer(floors.child('vfio-user-server', [ourPath], onOneCpu));
  await using _served = await startServer(floors.child('vfio-user-served', [servedPath], onOneCpu));
  await using cOnC = floors.floor('vfio-user-client', [cPath], onOneCpu);
  await using cOnOurs = floors.floor('vfio-user-client', [ourPath], onOneCpu);
  await using cOnServed = floors.floor('vfio-user-client', [servedPath], onOneCpu);
  await using oursOnOurs = floors.child('vfio-user-client', [ourPath], onOneCpu);
  const clients = { server: cOnOurs, 'served device': cOnServed, 'both ends': oursOnOurs };
  const figures: Figure[] = [];
  for (const work of works) {
    const { operation, batch, kinds, targets } = work;
    const sources = [cOnC, ...kinds.map((kind) => clients[kind])];
    for (const client of sources) await client.sample(operation, 1, warmUpCount);
    const [floor, ...ours] = await interleave(
      rounds,
      sources.map((client) => () => client.sample(operation, samplesPerRound, batch)),
    );
    for (const [index, kind] of kinds.entries()) {
      const { p50, count } = ours[index]!;
      const perSecond = `${Math.round(1e9 / p50)} a second, C ${Math.round(1e9 / floor!.p50)}`;
      const target = targets?.[kind];
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
  rows: works.flatMap((work) => work.kinds.map((kind) => rowName(work, kind))),
  run,
};
