import fc from 'fast-check';
import { expect, test } from 'vitest';
import { initialLease, isOver, leaseStep } from './lease-step.js';
import {
  type LeaseEffect,
  type LeaseEvent,
  type LeaseState,
  leaseEventTypes,
  reclaimPhases,
} from './types.js';

const anyEvent: fc.Arbitrary<LeaseEvent> = fc
  .record({
    type: fc.constantFrom(...leaseEventTypes),
    detail: fc.constant('x'),
    graceMs: fc.nat(2),
    phase: fc.constantFrom(...reclaimPhases),
    idle: fc.boolean(),
  })
  .map((event) => event as LeaseEvent);

/** Answers what the machine asked for, and asks for the end: what a runner does to be rid of it. */
function wayOut(state: LeaseState, idle: boolean, timeouts: boolean): LeaseEvent {
  switch (state.name) {
    case 'granting':
      return { type: 'granted' };
    case 'reclaiming':
      return timeouts
        ? { type: 'phaseTimeout', phase: state.phase! }
        : { type: 'phaseDone', phase: state.phase!, idle };
    case 'quarantined':
      return { type: 'quarantineReleased' };
    default:
      return { type: 'brokerStop' };
  }
}

interface Run {
  state: LeaseState;
  effects: LeaseEffect[];
  events: LeaseEvent[];
}

function feed(run: Run, event: LeaseEvent): void {
  const before = run.state;
  const step = leaseStep(before, event);
  if (!step) return;
  run.state = step.next;
  run.effects.push(...step.effects);
  if (step.next !== before) run.events.push(event);
}

function runOf(events: readonly LeaseEvent[], idle: boolean, timeouts: boolean): Run {
  const run: Run = { state: initialLease(), effects: [], events: [] };
  for (const event of events) feed(run, event);
  for (let steps = 0; steps < 12 && !isOver(run.state); steps += 1) {
    feed(run, wayOut(run.state, idle, timeouts));
  }
  return run;
}

/** Mostly useful sequences: a plain grant first, in half of the runs. */
const sequences = fc
  .tuple(fc.boolean(), fc.array(anyEvent, { maxLength: 40 }), fc.boolean(), fc.boolean())
  .map(([granted, events, idle, timeouts]) => {
    const start: LeaseEvent[] = granted ? [{ type: 'grant' }, { type: 'granted' }] : [];
    return runOf([...start, ...events], idle, timeouts);
  });

const count = (run: Run, type: LeaseEffect['type']): number =>
  run.effects.filter((effect) => effect.type === type).length;

test('every sequence of events can be brought to an end, and an end is final', () => {
  fc.assert(
    fc.property(sequences, anyEvent, (run, event) => {
      expect(isOver(run.state)).toBe(true);
      const step = leaseStep(run.state, event);
      if (step) expect(step).toEqual({ next: run.state, effects: [] });
    }),
    { numRuns: 1000 },
  );
});

test('phases start in order, each once; only quiesce may be left out, when the function is gone', () => {
  fc.assert(
    fc.property(sequences, (run) => {
      const phases = run.effects.flatMap((e) => (e.type === 'startPhase' ? [e.phase] : []));
      const skipped = run.state.functionGone && !phases.includes('quiesce') ? ['quiesce'] : [];
      const wanted = reclaimPhases.filter((phase) => !skipped.includes(phase));
      expect(phases).toEqual(count(run, 'startGrant') === 0 ? [] : wanted);
    }),
    { numRuns: 1000 },
  );
});

test('a slice is freed once, and only when proved idle after the cut or vouched for', () => {
  fc.assert(
    fc.property(sequences, (run) => {
      expect(count(run, 'freeSlice')).toBe(count(run, 'startGrant'));
      if (count(run, 'freeSlice') === 0) return;
      const idle = run.events.some(
        (e) => e.type === 'phaseDone' && e.phase === 'quiesce' && e.idle === true,
      );
      const late = run.events.some((e) => e.type === 'phaseTimeout' && e.phase !== 'zap');
      const released = run.events.some((e) => e.type === 'quarantineReleased');
      expect(released || (idle && !late)).toBe(true);
      expect(count(run, 'quarantineSlice')).toBe(released ? 1 : 0);
    }),
    { numRuns: 1000 },
  );
});

test('a lease is published or refused, never both; what was published is announced as ended', () => {
  fc.assert(
    fc.property(sequences, (run) => {
      expect(count(run, 'publishGrant') + count(run, 'refuse')).toBe(1);
      expect(count(run, 'announceEnd')).toBe(count(run, 'publishGrant'));
      expect(run.state.name).toBe(run.state.published ? 'ended' : 'refused');
      expect(run.state.reason).toBeDefined();
      expect(count(run, 'connectWindows')).toBeLessThanOrEqual(1);
      expect(count(run, 'announceRevoke')).toBeLessThanOrEqual(1);
    }),
    { numRuns: 1000 },
  );
});
