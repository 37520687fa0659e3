// What every structure may do wrong before its command looks at it.
import fc from 'fast-check';
import type { Command } from '../command.js';
import type { Frame } from '../frame.js';
import { type Edge, step } from './edge.js';

const frames: readonly Frame[] = [
  { kind: 'place', place: 'hole' },
  { kind: 'request', bits: 0x8000_0000 },
  { kind: 'size', size: 4 },
  { kind: 'longer', by: 8, fill: 1 },
  { kind: 'longer', by: 8, fill: 0 },
  { kind: 'before-hole', by: 8 },
];

/** One for each command with a structure of iommufd's. */
export function entryEdges(commands: readonly Command<never>[]): Edge[] {
  return commands
    .filter(({ name }) => name.startsWith('IOMMU_'))
    .map((command) => {
      const [args] = fc.sample(command.args, { seed: 1, numRuns: 1 });
      const steps = frames.map((frame) => step(command, args as never, frame));
      return { name: `the entry of ${command.name}`, steps };
    });
}
