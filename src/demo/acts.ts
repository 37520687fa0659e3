// The acts of the story. Each measures, checks and tells one promise.
import { isLessorError } from '../base/errors.js';
import { hex } from '../base/units.js';
import { type ReclaimPhase, reclaimPhases } from '../lease/types.js';
import type { DemoReport } from './report.js';
import { type DemoActor, pause, type Stage } from './stage.js';
import { grouped, mebibytes, micros, millis } from './story.js';

const foreignBytes = 256;
/** No revoke takes longer. */
const askMs = 20_000;

/** Doorbell to completion, mapped and by message, before there is a crowd. */
export async function actRoundTrips(stage: Stage, actor: DemoActor): Promise<void> {
  const { story, report, venue } = stage;
  const isMapped = actor.held?.isMapped ?? false;
  if (isMapped) {
    const mapped = await actor.call('roundTrip', venue.roundTrips);
    report.roundTripMicros = mapped;
    story.line(
      actor.name,
      `doorbell to completion   p50 ${micros(mapped.p50)} us   p99 ${micros(mapped.p99)} us`,
      'no system call',
    );
  } else {
    stage.impossible('registers mapped into the client', noWindows(stage));
  }
  const message = await actor.call('messageRoundTrip', venue.messageRoundTrips);
  report.messageRoundTripMicros = message;
  story.line(
    actor.name,
    `${isMapped ? 'the same by message   ' : 'doorbell by message to completion'}   ` +
      `p50 ${micros(message.p50)} us   p99 ${micros(message.p99)} us`,
  );
  const mappedMicros = report.roundTripMicros.p50;
  const isMeasured = isMapped ? mappedMicros > 0 && message.p50 > mappedMicros : message.p50 > 0;
  stage.check(isMeasured, 'round trips were measured');
}

/** Why leases have their registers by message alone. */
function noWindows({ underside }: Stage): string {
  return underside === 'vfio-user'
    ? 'the server of the function offers no windows that can be taken back'
    : 'the kernel offers no mappings of registers that can be taken back';
}

/** Everybody works at once; every byte is compared. */
export async function actWork(stage: Stage, actors: readonly DemoActor[]): Promise<void> {
  const { story, report } = stage;
  const answers = await Promise.all(
    actors.map((actor, index) =>
      actor.call('work', { operations: stage.venue.operationsEach, seed: index + 1 }),
    ),
  );
  const operations = answers.reduce((sum, answer) => sum + answer.operations, 0);
  const bytes = answers.reduce((sum, answer) => sum + answer.bytes, 0);
  report.operations += operations;
  report.bytesVerified += bytes;
  const wrong = answers.find((answer) => answer.wrong !== undefined)?.wrong;
  const right = stage.check(wrong === undefined, `wrong data: ${wrong}`);
  story.line(
    actors.map(({ name }) => name).join(' '),
    `${grouped(operations)} copies and crc32c, ${mebibytes(bytes)}, every byte compared`,
    right ? 'ok' : `WRONG ${wrong}`,
  );
}

/** One client aims at memory of another, and at nothing at all. */
export async function actAttack(
  stage: Stage,
  attacker: DemoActor,
  victim: DemoActor,
): Promise<void> {
  const { story, report } = stage;
  const target = victim.held?.dataIova ?? 0;
  const nowhere = (attacker.held?.iovaBase ?? 0) + (attacker.held?.iovaBytes ?? 0) - foreignBytes;
  await victim.call('paint', 7);
  const before = await victim.call('hash');
  const aims = [
    { iova: target, direction: 'read', what: `copies from ${victim.name}'s buffer` },
    { iova: target, direction: 'write', what: `copies into ${victim.name}'s buffer` },
    { iova: nowhere, direction: 'write', what: 'copies to an unmapped address' },
  ] as const;
  for (const { iova, direction, what } of aims) {
    const seen = stage.events.length;
    const answer = await attacker.call('foreignCopy', {
      iova,
      direction,
      lengthBytes: foreignBytes,
    });
    stage.check(!answer.succeeded && answer.bytesReceived === 0, `${what} moved bytes`);
    const event = await faultAfter(stage, attacker.held?.id ?? '', seen);
    stage.check(event !== undefined, `${what}: no fault was reported`);
    if (event === undefined) continue;
    const fault = { ...event, iova: hex(event.iova), lease: attacker.held?.id ?? '' };
    report.faults.push(fault);
    story.line(
      attacker.name,
      `${what} at ${hex(iova)}`,
      `FAULT ${attacker.held?.slice} ${fault.access.padEnd(5)} ${fault.reason.padEnd(13)}`,
    );
  }
  const intact = (await victim.call('hash')) === before;
  report.victimIntact &&= intact;
  stage.check(intact, "the victim's memory changed");
  story.line(victim.name, 'all memory hashed before and after', intact ? 'intact' : 'CHANGED');
}

async function faultAfter(stage: Stage, lease: string, seen: number) {
  for (let tries = 0; tries < 4000; tries += 1) {
    const event = stage.events
      .slice(seen)
      .find((candidate) => candidate.type === 'fault' && candidate.lease === lease);
    if (event?.fault !== undefined) return event.fault;
    await pause(5);
  }
  return undefined;
}

/** @returns False when the device cannot be told to. */
async function delayDma(stage: Stage, slice: string, delayMs: number): Promise<boolean> {
  try {
    await stage.admin.inject(slice, 'dma-delay-ms', delayMs);
    return true;
  } catch (error) {
    if (!isLessorError(error, 'UNSUPPORTED')) throw error;
    stage.impossible('DMA of a dead client that comes late', 'the device delays none when told to');
    return false;
  }
}

/** A client dies with DMA in flight; the next tenant of its slice must not notice. */
export async function actKill(stage: Stage, victim: DemoActor, nextName: string): Promise<void> {
  const { story, report } = stage;
  const { lateDmaMs } = stage.venue;
  const { id = '', slice = '' } = victim.held ?? {};
  const isLate = await delayDma(stage, slice, lateDmaMs);
  await victim.call('submit', 4096);
  // The device has taken the descriptor by then.
  await pause(lateDmaMs / 4);
  victim.kill('SIGKILL');
  const killedMs = performance.now();
  await victim.exited;
  const late = isLate ? ` that comes ${lateDmaMs} ms late` : '';
  story.line(victim.name, `SIGKILL with a DMA in flight${late}`);
  const ended = await stage.eventOf(id, 'ended');
  stage.check(ended !== undefined, 'the lease of a dead client did not end');
  tellPhases(stage, id, performance.now() - killedMs);
  const next = await stage.enter(nextName, slice);
  if (isLate) await delayDma(stage, slice, 0);
  await next.call('paint', 11);
  const before = await next.call('hash');
  await pause(lateDmaMs * 2);
  const intact = (await next.call('hash')) === before;
  report.nextTenantIntact &&= intact;
  stage.check(intact, 'the late DMA of a dead client reached the next tenant');
  story.line(
    nextName,
    `has ${slice} now; its memory, ${lateDmaMs * 2} ms later`,
    intact ? 'intact' : 'CHANGED',
  );
}

function phasesOf(stage: Stage, lease: string): DemoReport['reclaimMicros'] {
  const times: DemoReport['reclaimMicros'] = {};
  let total = 0;
  for (const event of stage.events) {
    if (event.lease !== lease || event.type !== 'phase') continue;
    times[event.phase as ReclaimPhase] = event.micros ?? 0;
    total += event.micros ?? 0;
  }
  return { ...times, total };
}

function tellPhases(stage: Stage, lease: string, seenMs: number): void {
  const times = phasesOf(stage, lease);
  const all = reclaimPhases.every((phase) => times[phase] !== undefined);
  stage.check(all, 'a reclaim phase is missing');
  if (stage.isFirst) stage.report.reclaimMicros = times;
  const shown = reclaimPhases.map((phase) => `${phase} ${millis(times[phase] ?? 0)}`);
  stage.story.detail(shown.join('  '));
  const total = `${millis(times.total ?? 0)} ms`;
  stage.story.detail(`together ${total}; from SIGKILL to all given back ${seenMs.toFixed(1)} ms`);
}

/** A client loses its registers, whether they are mapped into it or not. */
export function actRevoke(stage: Stage, actor: DemoActor): Promise<void> {
  return actor.held?.isMapped ? revokeMapped(stage, actor) : revokeMediated(stage, actor);
}

/** A client that never looks up from its registers loses them all the same. */
async function revokeMapped(stage: Stage, actor: DemoActor): Promise<void> {
  const { story, report } = stage;
  const id = actor.held?.id ?? '';
  const spinning = actor.call('spin', 5000);
  await pause(100);
  const startNs = process.hrtime.bigint();
  await stage.admin.revoke(id, { reason: 'demo' });
  const seen = await spinning;
  const seenMicros = Number(seen.seenAtNs - startNs) / 1000;
  const reason = await actor.call('ended');
  const right = seen.value === 0xffff_ffff && reason.includes('operator: demo');
  stage.check(right, `a spinning client read ${hex(seen.value)} and was told "${reason}"`);
  if (stage.isFirst) report.revokeSeenMicros = Math.round(seenMicros);
  story.line(actor.name, 'revoked while spinning on its registers', right ? 'ok' : 'WRONG');
  const value = seen.value.toString(16);
  story.detail(`reads ${value} after ${seenMicros.toFixed(0)} us, still alive, told: "${reason}"`);
}

/** A client that asks for its registers is refused them. */
async function revokeMediated(stage: Stage, actor: DemoActor): Promise<void> {
  const { story, report } = stage;
  const asking = actor.call('ask', askMs);
  await pause(100);
  const startNs = process.hrtime.bigint();
  await stage.admin.revoke(actor.held?.id ?? '', { reason: 'demo' });
  const { code, seenAtNs } = await asking;
  const seenMicros = Number(seenAtNs - startNs) / 1000;
  const reason = await actor.call('ended');
  const right = code !== undefined && reason.includes('operator: demo');
  stage.check(right, `an asking client was refused with ${code} and was told "${reason}"`);
  if (stage.isFirst) report.revokeSeenMicros = Math.round(seenMicros);
  story.line(actor.name, 'revoked while asking for its registers', right ? 'ok' : 'WRONG');
  story.detail(`refused (${code}) after ${seenMicros.toFixed(0)} us, still alive: "${reason}"`);
}

/** The same attack with the guard away: it must succeed, or the attack proves nothing. */
export async function actPositiveControl(
  stage: Stage,
  attacker: DemoActor,
  victim: DemoActor,
): Promise<void> {
  const { story, report } = stage;
  await victim.call('paint', 7);
  await attacker.call('paint', 8);
  const before = await victim.call('hash');
  const answer = await attacker.call('foreignCopy', {
    iova: victim.held?.dataIova ?? 0,
    direction: 'write',
    lengthBytes: foreignBytes,
  });
  const changed = (await victim.call('hash')) !== before;
  report.positiveControl = answer.succeeded && changed;
  stage.check(report.positiveControl, 'the attack did not succeed under cooperative');
  story.line(
    attacker.name,
    `copies into ${victim.name}'s buffer at ${hex(victim.held?.dataIova ?? 0)}`,
    report.positiveControl ? 'SUCCEEDS, as nobody polices it' : 'failed?',
  );
}
