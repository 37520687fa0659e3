// The reclaim phases of one lease: what each does, its deadline, and what it says when late.
import { unreachable } from '../base/errors.js';
import type { ReclaimPhase } from '../lease/types.js';
import type { BrokerContext } from './context.js';
import { inTime } from './in-time.js';
import type { LeaseResources } from './lease-resources.js';
import type { LeaseTerms } from './lease-terms.js';

export interface PhaseOutcome {
  readonly timedOut: boolean;
  /** For quiesce: the slice said idle after the cut. */
  readonly idle: boolean;
  readonly micros: number;
  /** For people and events: `done`, `orphan`, `busy`, `late`, or what failed. */
  readonly outcome: string;
}

export interface ReclaimSubject {
  readonly terms: LeaseTerms;
  readonly resources: LeaseResources;
  /** Answers ENODEV to everything from now on. */
  fence(): void;
  /** The slice was proved idle in this reclaim. */
  readonly idle: boolean;
}

type PhaseWork = (
  context: BrokerContext,
  subject: ReclaimSubject,
  signal: AbortSignal,
) => Promise<string>;

/** Quiesce, and where that does not prove the slice idle, its reset. */
async function quiesce(
  { os, deadlines }: BrokerContext,
  { terms }: ReclaimSubject,
): Promise<string> {
  const { slice } = terms;
  const asked = await inTime(os.clock, deadlines.quiesceMs, (signal) => slice.quiesce(signal));
  if (asked.type === 'done' && asked.value === 'idle') return 'idle';
  const forced = await inTime(os.clock, deadlines.resetSliceMs, (signal) => slice.reset(signal));
  if (forced.type === 'done' && forced.value === 'idle') return 'idle after slice reset';
  return 'busy';
}

const phases: Record<ReclaimPhase, PhaseWork> = {
  fence: async (_context, subject) => {
    subject.fence();
    return 'done';
  },
  detach: async (_context, { resources }) => {
    await resources.detach();
    return 'done';
  },
  zap: ({ deadlines }, { resources }) => resources.zap(deadlines.zapMs),
  quiesce,
  disarm: async (_context, { resources }) => {
    await resources.interrupts.disarm();
    return 'done';
  },
  ungrant: async (_context, { resources, idle }) => {
    if (!idle) return 'kept until the quarantine is released';
    await resources.ungrant();
    return 'done';
  },
  unmap: async (_context, { resources }) => {
    await resources.close();
    return 'done';
  },
};

/** How much longer than its own deadline a phase that keeps one itself may take. */
const marginMs = 200;

function detachMs({ deadlines }: BrokerContext, { revocation }: LeaseTerms): number {
  const { detachMs: plainMs, holderLeaveMs, holderDieMs } = deadlines;
  if (revocation !== 'process') return plainMs;
  return plainMs + holderLeaveMs + holderDieMs;
}

function deadlineOf(phase: ReclaimPhase, context: BrokerContext, terms: LeaseTerms): number {
  const { deadlines } = context;
  switch (phase) {
    case 'fence':
      return marginMs;
    case 'detach':
      return detachMs(context, terms);
    case 'zap':
      return deadlines.zapMs + marginMs;
    case 'quiesce':
      return deadlines.quiesceMs + deadlines.resetSliceMs + marginMs;
    case 'disarm':
      return deadlines.disarmMs;
    case 'ungrant':
      return deadlines.ungrantMs;
    case 'unmap':
      return deadlines.unmapMs;
    default:
      return unreachable(phase);
  }
}

/** Phases whose silence means that the device still holds something of the lease. */
const needsFunctionReset: readonly ReclaimPhase[] = ['detach', 'disarm', 'unmap'];

/** Runs one phase to its end or deadline. Never rejects. */
export async function runPhase(
  context: BrokerContext,
  subject: ReclaimSubject,
  phase: ReclaimPhase,
): Promise<PhaseOutcome> {
  const { clock } = context.os;
  const startMs = clock.nowMs();
  const result = await inTime(clock, deadlineOf(phase, context, subject.terms), (signal) =>
    phases[phase](context, subject, signal),
  );
  const micros = Math.round((clock.nowMs() - startMs) * 1000);
  if (result.type === 'done') {
    const idle = phase === 'quiesce' && result.value.startsWith('idle');
    return { timedOut: false, idle, micros, outcome: result.value };
  }
  const outcome = result.type === 'timeout' ? 'late' : `failed: ${String(result.error)}`;
  context.log.warn('reclaim phase failed', { lease: subject.terms.id, phase, outcome });
  if (needsFunctionReset.includes(phase)) {
    context.functionStuck(`${phase} of lease ${subject.terms.id} ${outcome}`);
  }
  return { timedOut: true, idle: false, micros, outcome };
}
