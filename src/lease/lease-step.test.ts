import { describe, expect, test } from 'vitest';
import { initialLease, isOver, leaseStep } from './lease-step.js';
import { leaseRules } from './rules.js';
import {
  type EndReason,
  type LeaseEvent,
  type LeaseEventType,
  type LeaseState,
  type LeaseStateName,
  leaseEventTypes,
  leaseStates,
  reclaimPhases,
} from './types.js';

const revoked: EndReason = { cause: 'revoked', detail: 'operator: test' };
const died: EndReason = { cause: 'holder died', detail: 'its holder is gone' };

/** What the table has to say, by hand: state, `-` illegal, `.` ignored. Sub-cases below. */
const expected: Record<LeaseEventType, string> = {
  // queued, granting, granted, active, revoking, reclaiming, quarantined, ended, refused
  grant: '    granting -          -          -          -          -          -           -     -',
  granted: '  -        granted    -          -          -          -          -           -     -',
  grantFailed: '-      reclaiming -          -          -          -          -           -     -',
  enable: '   -        -          active     .          -          -          -           -     -',
  release: '  refused  granting   reclaiming reclaiming reclaiming .          .           .     .',
  holderGone: 'refused granting   reclaiming reclaiming reclaiming .          .           .     .',
  expire: '   refused  granting   reclaiming reclaiming reclaiming .          .           .     .',
  deny: '     refused  granting   reclaiming reclaiming reclaiming .          .           .     .',
  broken: '   refused  granting   reclaiming reclaiming reclaiming .          .           .     .',
  revoke: '   refused  granting   revoking   revoking   revoking   .          .           .     .',
  graceOver: '-        -          -          -          reclaiming .          .           .     .',
  functionReset: '.    granting   reclaiming reclaiming reclaiming .          .           .     .',
  functionGone: 'refused granting reclaiming reclaiming reclaiming reclaiming .           .     .',
  brokerStop: 'refused granting   reclaiming reclaiming reclaiming .          .           .     .',
  phaseDone: '-        -          -          -          -          reclaiming .           .     .',
  phaseTimeout: '-     -          -          -          -          reclaiming .           .     .',
  quarantineReleased: '- -        -          -          -          -          ended       -     -',
};

const states: Record<LeaseStateName, LeaseState> = {
  queued: initialLease(),
  granting: { name: 'granting' },
  granted: { name: 'granted', published: true },
  active: { name: 'active', published: true, enabled: true },
  revoking: { name: 'revoking', published: true, enabled: true, reason: revoked },
  reclaiming: { name: 'reclaiming', published: true, phase: 'fence', reason: died },
  quarantined: { name: 'quarantined', published: true, busy: true, reason: died },
  ended: { name: 'ended', published: true, reason: died },
  refused: { name: 'refused', reason: died },
};

const events: { readonly [T in LeaseEventType]: Extract<LeaseEvent, { type: T }> } = {
  grant: { type: 'grant' },
  granted: { type: 'granted' },
  grantFailed: { type: 'grantFailed', detail: 'the driver failed' },
  enable: { type: 'enable' },
  release: { type: 'release' },
  holderGone: { type: 'holderGone' },
  expire: { type: 'expire' },
  deny: { type: 'deny', detail: 'policy changed' },
  broken: { type: 'broken', detail: 'window truncated' },
  revoke: { type: 'revoke', detail: 'operator: test', graceMs: 100 },
  graceOver: { type: 'graceOver' },
  functionReset: { type: 'functionReset' },
  functionGone: { type: 'functionGone' },
  brokerStop: { type: 'brokerStop' },
  phaseDone: { type: 'phaseDone', phase: 'fence' },
  phaseTimeout: { type: 'phaseTimeout', phase: 'fence' },
  quarantineReleased: { type: 'quarantineReleased' },
};

describe('every event in every state', () => {
  for (const type of leaseEventTypes) {
    const wanted = expected[type].trim().split(/\s+/);
    leaseStates.forEach((name, index) => {
      test(`${name} + ${type}: ${wanted[index]}`, () => {
        const state = states[name];
        const step = leaseStep(state, events[type]);
        if (wanted[index] === '-') expect(step).toBeUndefined();
        else if (wanted[index] === '.') expect(step).toEqual({ next: state, effects: [] });
        else expect(step?.next.name).toBe(wanted[index]);
      });
    });
  }

  test('the table has no hole', () => {
    for (const type of leaseEventTypes) {
      expect(expected[type].trim().split(/\s+/)).toHaveLength(leaseStates.length);
    }
  });
});

describe('the states that a rule names', () => {
  const subStates: LeaseState[] = [
    ...Object.values(states),
    { name: 'granting', endAfterGrant: true, reason: died },
    ...reclaimPhases.flatMap((phase): LeaseState[] => [
      { name: 'reclaiming', phase, reason: died },
      { name: 'reclaiming', phase, reason: died, published: true },
      { name: 'reclaiming', phase, reason: died, busy: true },
    ]),
    { name: 'quarantined', busy: true, reason: died },
  ];
  const subEvents: LeaseEvent[] = [
    ...Object.values(events),
    { type: 'revoke', detail: 'now', graceMs: 0 },
    ...reclaimPhases.flatMap((phase): LeaseEvent[] => [
      { type: 'phaseDone', phase, idle: true },
      { type: 'phaseTimeout', phase },
    ]),
  ];

  test('are exactly those that its sub-cases reach', () => {
    const seen = new Map<string, Set<LeaseStateName>>();
    for (const state of subStates) {
      for (const event of subEvents) {
        const next = leaseStep(state, event)?.next.name;
        const key = `${state.name} ${event.type}`;
        if (next) seen.set(key, (seen.get(key) ?? new Set()).add(next));
      }
    }
    for (const name of leaseStates) {
      for (const type of leaseEventTypes) {
        const rule = leaseRules[name][type];
        if (typeof rule === 'string') continue;
        expect([...(seen.get(`${name} ${type}`) ?? [])].sort()).toEqual([...rule.to].sort());
      }
    }
  });
});

describe('before the grant', () => {
  test('a request that waited in vain is told so', () => {
    expect(leaseStep(initialLease(), events.expire)?.effects).toEqual([
      { type: 'refuse', code: 'NO_FREE_SLICE', detail: 'no slice became free in time' },
    ]);
  });

  test('a refused request carries its reason', () => {
    expect(leaseStep(initialLease(), events.deny)?.next).toEqual({
      name: 'refused',
      reason: { cause: 'denied', detail: 'policy changed' },
    });
  });

  test('a holder that dies while the driver grants waits for the driver, then is reclaimed', () => {
    const waiting = leaseStep(states.granting, events.holderGone);
    expect(waiting).toEqual({
      next: { name: 'granting', endAfterGrant: true, reason: died },
      effects: [],
    });
    const done = leaseStep(waiting!.next, events.granted);
    expect(done).toEqual({
      next: { name: 'reclaiming', phase: 'fence', reason: died },
      effects: [
        { type: 'refuse', code: 'LEASE_ENDED', detail: died.detail },
        { type: 'startPhase', phase: 'fence' },
      ],
    });
  });

  test('a second end while the driver grants keeps the first reason', () => {
    const once = leaseStep(states.granting, events.holderGone)!.next;
    const twice = leaseStep(once, events.functionGone)!.next;
    expect(twice).toEqual({ ...once, functionGone: true });
    expect(leaseStep(twice, events.granted)?.next).toMatchObject({ busy: true, reason: died });
  });

  test('a failed grant refuses with its code and reclaims what was made in part', () => {
    const step = leaseStep(states.granting, {
      type: 'grantFailed',
      detail: 'no memory',
      code: 'QUOTA_EXCEEDED',
    });
    expect(step).toEqual({
      next: {
        name: 'reclaiming',
        phase: 'fence',
        reason: { cause: 'broken', detail: 'no memory' },
      },
      effects: [
        { type: 'refuse', code: 'QUOTA_EXCEEDED', detail: 'no memory' },
        { type: 'startPhase', phase: 'fence' },
      ],
    });
  });
});

test('a failed grant that names no code is the failure of the driver', () => {
  const step = leaseStep(states.granting, events.grantFailed);
  expect(step?.effects[0]).toMatchObject({ type: 'refuse', code: 'DRIVER_FAILED' });
  const ended = leaseStep(
    { ...states.granting, endAfterGrant: true, reason: died },
    events.grantFailed,
  );
  expect(ended?.effects[0]).toMatchObject({ type: 'refuse', code: 'LEASE_ENDED' });
  expect(ended?.next.reason).toEqual(died);
});

describe('revoking', () => {
  test('tells the holder, then times the grace', () => {
    expect(leaseStep(states.active, events.revoke)?.effects).toEqual([
      { type: 'announceRevoke', reason: revoked, graceMs: 100 },
      { type: 'startGraceTimer', graceMs: 100 },
    ]);
  });

  test('without grace is reclaimed at once, and the holder is told', () => {
    expect(leaseStep(states.active, { ...events.revoke, graceMs: 0 })?.effects).toEqual([
      { type: 'announceRevoke', reason: revoked, graceMs: 0 },
      { type: 'startPhase', phase: 'fence' },
    ]);
  });

  test('again only sets another timer; the reason stays', () => {
    const again = leaseStep(states.revoking, { type: 'revoke', detail: 'other', graceMs: 5 });
    expect(again).toEqual({
      next: states.revoking,
      effects: [{ type: 'startGraceTimer', graceMs: 5 }],
    });
  });

  test('again without grace reclaims at once', () => {
    const again = leaseStep(states.revoking, { type: 'revoke', detail: 'other', graceMs: 0 });
    expect(again?.next).toMatchObject({ name: 'reclaiming', reason: revoked });
    expect(again?.effects).toEqual([{ type: 'startPhase', phase: 'fence' }]);
  });

  test.each(['release', 'holderGone', 'expire', 'graceOver'] as const)(
    '%s keeps the reason of the revocation',
    (type) => {
      expect(leaseStep(states.revoking, events[type])?.next).toMatchObject({
        name: 'reclaiming',
        reason: revoked,
      });
    },
  );

  test('an end that the holder brought about is not announced to it', () => {
    for (const type of ['release', 'holderGone'] as const) {
      expect(leaseStep(states.active, events[type])?.effects).toEqual([
        { type: 'startPhase', phase: 'fence' },
      ]);
    }
  });
});

describe('reclaim', () => {
  function reclaim(state: LeaseState, answer: (phase: string) => LeaseEvent): string[] {
    const seen: string[] = [];
    let now = state;
    while (!isOver(now) && now.name !== 'quarantined') {
      const step = leaseStep(now, answer(now.phase!))!;
      seen.push(...step.effects.map((e) => (e.type === 'startPhase' ? e.phase : e.type)));
      now = step.next;
    }
    return [...seen, now.name];
  }
  const done = (phase: string): LeaseEvent => ({
    type: 'phaseDone',
    phase: phase as 'fence',
    idle: true,
  });

  test('goes through the phases in order and frees an idle slice', () => {
    expect(reclaim(states.reclaiming, done)).toEqual([
      ...reclaimPhases.slice(1),
      'freeSlice',
      'announceEnd',
      'ended',
    ]);
  });

  test('of a lease that was never published announces no end', () => {
    const { published: _, ...unpublished } = states.reclaiming;
    expect(reclaim(unpublished, done).slice(-2)).toEqual(['freeSlice', 'refused']);
  });

  test.each([false, undefined])('a slice that says idle: %s goes into quarantine', (idle) => {
    const answer = (phase: string): LeaseEvent =>
      phase !== 'quiesce'
        ? done(phase)
        : { type: 'phaseDone', phase, ...(idle === undefined ? {} : { idle }) };
    expect(reclaim(states.reclaiming, answer).slice(-3)).toEqual([
      'quarantineSlice',
      'announceEnd',
      'quarantined',
    ]);
  });

  test.each(reclaimPhases)('a %s past its deadline goes on; all but zap quarantine', (late) => {
    const answer = (phase: string): LeaseEvent =>
      phase === late ? { type: 'phaseTimeout', phase } : done(phase);
    const seen = reclaim(states.reclaiming, answer);
    expect(seen.slice(0, 6)).toEqual(reclaimPhases.slice(1));
    expect(seen.at(-1)).toBe(late === 'zap' ? 'ended' : 'quarantined');
  });

  test('skips quiesce when the function is gone, unmaps, and quarantines', () => {
    const gone = leaseStep(states.active, events.functionGone)!;
    expect(gone.effects[0]).toMatchObject({ type: 'announceRevoke' });
    expect(reclaim(gone.next, done)).toEqual([
      'detach',
      'zap',
      'disarm',
      'ungrant',
      'unmap',
      'quarantineSlice',
      'announceEnd',
      'quarantined',
    ]);
  });

  test('leaves a quiesce under way when the function goes', () => {
    const quiescing: LeaseState = { ...states.reclaiming, phase: 'quiesce' };
    const step = leaseStep(quiescing, events.functionGone);
    expect(step?.next).toMatchObject({ phase: 'disarm', busy: true });
    expect(step?.effects).toEqual([{ type: 'startPhase', phase: 'disarm' }]);
  });

  test('ignores a late answer, refuses an early one', () => {
    const zapping: LeaseState = { ...states.reclaiming, phase: 'zap' };
    for (const type of ['phaseDone', 'phaseTimeout'] as const) {
      expect(leaseStep(zapping, { type, phase: 'detach' })).toEqual({ next: zapping, effects: [] });
      expect(leaseStep(zapping, { type, phase: 'quiesce' })).toBeUndefined();
    }
  });

  test('a released quarantine frees the slice', () => {
    expect(leaseStep(states.quarantined, events.quarantineReleased)).toEqual({
      next: { ...states.quarantined, name: 'ended' },
      effects: [{ type: 'freeSlice' }],
    });
  });
});
