// Every rule of the dma-bufs of a VFIO device, on the kernel that runs: held, broken, or impossible
// here and why.
import { existsSync } from 'node:fs';
import { createOs } from '../../../src/os/index.js';
import { portAddress } from '../../vm/machine.js';
import { Exporter, outcomeOf } from './exporter.js';
import { importingRules } from './importing-rules.js';
import { MapperProgram } from './mapper.js';
import { mappingRules } from './mapping-rules.js';
import { pathRules } from './path-rules.js';
import { pausingRules } from './pausing-rules.js';
import { revokingRules } from './revoking-rules.js';
import type { Need, Rule, World } from './rule.js';

const rules: readonly Rule[] = [
  ...mappingRules,
  ...revokingRules,
  ...pausingRules,
  ...importingRules,
  ...pathRules,
];

/** Needs that are not met, with the reason. */
export type Lacks = ReadonlyMap<Need, string>;

/** Asks the kernel and the device, by calls that change nothing. */
function findLacks({ os, open, openOther }: World): Lacks {
  const lacks = new Map<Need, string>();
  using device = open();
  using buffer = device.export([{ first: 0, count: 1 }]);
  const spec = { offsetBytes: 0, lengthBytes: os.memory.pageBytes, writable: true };
  const mapped = outcomeOf(() => os.memory.map(buffer, spec)[Symbol.dispose]());
  if (mapped !== 'ok') lacks.set('map', `this kernel does not map dma-bufs of VFIO (${mapped})`);
  const { revoke, memattr } = device.findFeatures();
  if (revoke === undefined) lacks.set('revoke', 'this kernel has no feature to revoke a dma-buf');
  if (memattr === undefined) {
    lacks.set('memattr', 'this kernel has no feature for the memory attribute of a dma-buf');
  }
  if (!existsSync(`/sys/bus/pci/devices/${portAddress}`)) {
    lacks.set('other', `there is no device at ${portAddress}`);
    lacks.set('reset', 'the educational device cannot be reset, and there is no other');
    return lacks;
  }
  using other = openOther();
  if (!other.canReset) lacks.set('reset', 'no device here can be reset');
  return lacks;
}

export interface Summary {
  readonly held: number;
  readonly broken: number;
  readonly impossible: number;
  readonly lacks: Lacks;
}

/** Only in the test machine. @param say - Gets a line for each rule. */
export async function runDmaBufRules(say: (line: string) => void): Promise<Summary> {
  const os = createOs();
  using program = new MapperProgram();
  const world: World = {
    os,
    open: () => new Exporter(os),
    openOther: () => new Exporter(os, portAddress),
    start: (fd) => program.start(fd),
  };
  const lacks = findLacks(world);
  const summary = { held: 0, broken: 0, impossible: 0, lacks };
  for (const rule of rules) {
    const lack = rule.needs.map((need) => lacks.get(need)).find((reason) => reason !== undefined);
    if (lack !== undefined) {
      summary.impossible += 1;
      say(`impossible  ${rule.name}: ${lack}`);
      continue;
    }
    try {
      await rule.check(world);
      summary.held += 1;
      say(`held        ${rule.name}`);
    } catch (error) {
      summary.broken += 1;
      say(`BROKEN      ${rule.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return summary;
}
