// The bare shared line: two processes on two CPUs, one word each way, nothing else. JavaScript and
// C clients take turns with the same C responder.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import type { FloorTools } from '../floor.js';
import { describeSpread, interleave } from '../interleave.js';
import { SharedMemory } from '../shared-memory.js';
import type { Summary } from '../statistics.js';

const batch = 200;
const samplesPerRound = 50;
const lineRounds = 20;

/**
 * Both clients' round trips in nanoseconds. Clients run on the first CPU this process may use,
 * the responder on the second.
 */
export async function measureLine(
  floors: FloorTools,
  rounds: number,
): Promise<{ js: Summary; c: Summary }> {
  using memory = new SharedMemory('line', 4096);
  const words = new Uint32Array(memory.buffer);
  const sharedFd = memory.fd.number;
  const responder = floors.spawn([floors.program('line-responder')], { cpuIndex: 1, sharedFd });
  try {
    await using jsClient = floors.child('line-client', [], { cpuIndex: 0, sharedFd });
    await using cClient = floors.floor('line-client', [], { cpuIndex: 0, sharedFd });
    const [js, c] = await interleave(rounds, [
      () => jsClient.sample('roundtrip', samplesPerRound, batch),
      () => cClient.sample('roundtrip', samplesPerRound, batch),
    ]);
    return { js: js!, c: c! };
  } finally {
    words[0] = 0xffffffff;
    await new Promise((resolve) => {
      if (responder.exitCode !== null) resolve(undefined);
      responder.once('exit', resolve);
    });
  }
}

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const { js, c } = await measureLine(floors, lineRounds);
  return [
    {
      name: 'line/roundtrip',
      value: js.p50,
      unit: 'ns',
      floor: c.p50,
      target: { ratioMax: 1.3 },
      note: `${describeSpread(js, 1, 'ns')} of ${batch}; floor: C client`,
    },
  ];
}

export const line: BenchCase = { name: 'bare line', rows: ['line/roundtrip'], run };
