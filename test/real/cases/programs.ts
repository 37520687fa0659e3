// Programs that check something of their own in the guest: a case each. A program ends with status
// 0 when all of it held, and its last line says what that was.

import type { DemoReport } from '../../../src/demo/report.js';
import type { KernelFlavour } from '../../vm/kernel-recipe.js';
import { portAddress } from '../../vm/machine.js';
import { check, checkEqual } from '../check.js';
import { caseGroup } from '../group.js';
import { type Program, type ProgramResult, ProgramStage, programCase } from '../program.js';

const demoLabels = { stock: 'device-bounds/mediated', patched: 'device-bounds/kernel' } as const;
/** What the patched kernel and the machine have: a rule that is impossible for want of it fails. */
const dmaBufNeeds = {
  stock: ['other', 'reset'],
  patched: ['map', 'revoke', 'memattr', 'other', 'reset'],
} as const;

/** Brokers and clients, one after the other. */
const longMsMax = 900_000;

function judgeDemo(stdout: string, flavour: KernelFlavour): ProgramResult {
  const report = JSON.parse(stdout) as DemoReport;
  const { ok, labels, operations, impossible } = report;
  checkEqual(ok, true, 'the demo');
  const wanted = demoLabels[flavour];
  check(labels.includes(wanted), `no lease was ${wanted}, only ${labels.join(', ')}`);
  const lines = impossible.map(({ step, reason }) => `impossible: ${step}: ${reason}`);
  return { labels, remark: [`${operations} operations`, ...lines].join('\n') };
}

export const programs: readonly Program[] = [
  {
    // The first: it wants the machine as it is after its start.
    name: 'bind, doctor and unbind, against what is known of the machine',
    words: (flavour) => ['dist/test/real/doctor.js', flavour],
  },
  {
    name: 'the rules of dma-bufs, by raw calls',
    words: (flavour) => ['dist/test/kernel/dma-buf/main.js', ...dmaBufNeeds[flavour]],
  },
  {
    name: 'interrupts of EDU, and what the IOMMU says of it',
    words: () => ['dist/test/kernel/interrupts/main.js'],
  },
  {
    name: 'address spaces of a container',
    words: () => ['dist/test/kernel/type1/main.js'],
  },
  {
    name: 'a window as memory for the device',
    words: () => ['dist/test/kernel/window-as-memory.js'],
    possibleOn: ['patched'],
  },
  {
    name: 'EDU itself in the hands of processes',
    words: (flavour) => ['dist/test/kernel/process-window/main.js', flavour],
    msMax: longMsMax,
  },
  {
    name: 'EDU and a broker of a user without privileges',
    words: () => ['dist/test/real/unprivileged.js'],
  },
  {
    name: 'the demo, on an mqdma behind VFIO',
    words: () => ['bin/lessor.js', 'demo', '--function', portAddress, '--json'],
    msMax: longMsMax,
    judge: judgeDemo,
  },
];

export const programGroup = caseGroup({
  name: 'programs',
  open: async (flavour) => new ProgramStage(flavour),
  cases: programs.map(programCase),
});
