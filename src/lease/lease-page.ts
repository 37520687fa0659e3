// docs/concepts/lease-states.md, generated from the transition table.
import { type Cell, leaseRules } from './rules.js';
import {
  type LeaseStateName,
  leaseEventTypes,
  leaseStates,
  type ReclaimPhase,
  reclaimPhases,
} from './types.js';

const phaseTexts: Record<ReclaimPhase, string> = {
  fence: 'the lease fd answers ENODEV to everything',
  detach: 'the device lets go of the windows: the cut',
  zap: 'mappings of the windows are revoked; past the deadline the bytes stay behind, inert',
  quiesce: 'the slice stops and says that it is idle; skipped when the function is gone',
  disarm: 'interrupts are unbound',
  ungrant: 'PASID or bounds are taken back',
  unmap: 'every mapping is removed, and the removal acknowledged',
};

function cellOf(state: LeaseStateName, type: (typeof leaseEventTypes)[number]): Cell {
  return leaseRules[state][type] as Cell;
}

/** The Mermaid source of the state diagram. */
export function leaseDiagram(): string {
  const lines = ['stateDiagram-v2', '  [*] --> queued'];
  for (const from of leaseStates) {
    const labels = new Map<LeaseStateName, string[]>();
    for (const type of leaseEventTypes) {
      const cell = cellOf(from, type);
      if (typeof cell === 'string') continue;
      for (const to of cell.to) {
        if (to !== from) labels.set(to, [...(labels.get(to) ?? []), type]);
      }
    }
    for (const [to, events] of labels) lines.push(`  ${from} --> ${to}: ${events.join(', ')}`);
  }
  lines.push('  ended --> [*]', '  refused --> [*]');
  return lines.join('\n');
}

function cellText(state: LeaseStateName, type: (typeof leaseEventTypes)[number]): string {
  const cell = cellOf(state, type);
  if (cell === 'illegal') return ' ';
  return cell === 'ignored' ? '·' : cell.to.join(', ');
}

function table(): string {
  const head = `| event | ${leaseStates.join(' | ')} |`;
  const rule = `|---|${leaseStates.map(() => '---').join('|')}|`;
  const rows = leaseEventTypes.map(
    (type) => `| \`${type}\` | ${leaseStates.map((state) => cellText(state, type)).join(' | ')} |`,
  );
  return [head, rule, ...rows].join('\n');
}

/** The whole page. */
export function leasePage(): string {
  const phases = reclaimPhases.map(
    (phase, index) => `${index + 1}. **${phase}**: ${phaseTexts[phase]}.`,
  );
  return `# The states of a lease

<!-- Generated from src/lease/rules.ts by "node dist/test/tools/write-pages.js". -->

A lease that was published to its holder ends in \`ended\`; a request that never got that far ends
in \`refused\`. Whatever ends a lease, it is taken back in the same order.

\`\`\`mermaid
${leaseDiagram()}
\`\`\`

## Reclaim

${phases.join('\n')}

Each phase happens once, in this order, with a deadline. Reclaim goes on past a deadline, but only
a late **zap** leaves no doubt behind: after any other, and when the slice did not say idle after
the cut, the slice goes into \`quarantined\` with its PASID, IOVA window and vectors, until an
operator or a function reset frees it.

## Every event in every state

\`·\`: may well come, and changes nothing. Empty: nobody may send it.

${table()}
`;
}
