// Connecting a queue's rings to the device, and taking them back. Not on the hot path.
import { LessorError } from '../../base/errors.js';
import { ringErrorRows, ringState } from '../../device/mqdma/datasheet.js';
import { decodeFault } from '../../device/mqdma/fault-record.js';
import type { DescriptorRing } from './descriptor-ring.js';
import { DeviceFault } from './device-fault.js';
import type { QueueLease } from './queue-lease.js';
import { type QueuePort, revokedWord } from './queue-port.js';

/** How long the device may take to connect or disconnect rings. */
const linkDeadlineMs = 5000;
/** Looks without a pause, one a turn of the event loop. */
const soonTries = 100;

function pause(lease: QueueLease, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    lease.clock.after(delayMs, resolve);
  });
}

async function waitForState(
  lease: QueueLease,
  port: QueuePort,
  isThere: (state: number) => boolean,
): Promise<number> {
  const untilMs = lease.clock.nowMs() + linkDeadlineMs;
  for (let tries = 0; ; tries++) {
    const state = await port.readStatus('STATE');
    if (state === revokedWord || lease.closed) {
      throw new LessorError('LEASE_REVOKED', 'the lease ended');
    }
    if (isThere(state)) return state;
    if (lease.clock.nowMs() > untilMs) {
      throw new LessorError('DEADLINE_EXCEEDED', `ring state ${state} after ${linkDeadlineMs} ms`);
    }
    // A timer takes a millisecond at least; the device mostly answers sooner.
    if (tries < soonTries) await new Promise(setImmediate);
    else await pause(lease, 1);
  }
}

const stopWords = [
  'ERROR',
  'FAULT_ACCESS',
  'FAULT_REASON',
  'FAULT_IOVA_LOW',
  'FAULT_IOVA_HIGH',
] as const;
type StopWord = (typeof stopWords)[number];

/** Why the device stopped or refused the rings, from the words of the status page. */
export function stopError(state: number, word: (name: StopWord) => number): LessorError {
  if (state === revokedWord) return new LessorError('LEASE_REVOKED', 'the window was revoked');
  if (state === ringState.FAULTED) {
    const [access, reason] = [word('FAULT_ACCESS'), word('FAULT_REASON')];
    const record = decodeFault(access, reason, word('FAULT_IOVA_LOW'), word('FAULT_IOVA_HIGH'));
    return new DeviceFault(record, 'the device stopped the queue');
  }
  const row = ringErrorRows.find(({ code }) => code !== 0 && code === word('ERROR'));
  return new DeviceFault(undefined, row?.text ?? 'the queue was disabled or reset by its driver');
}

/** The same where only messages can tell. */
export async function stopReason(port: QueuePort, state: number): Promise<LessorError> {
  const words = new Map<StopWord, number>();
  for (const name of stopWords) words.set(name, await port.readStatus(name));
  return stopError(state, (name) => words.get(name)!);
}

/**
 * Tells the device where the rings are and waits until it has taken them.
 *
 * @throws LessorError `DEVICE_FAULT`, `DEADLINE_EXCEEDED`, `LEASE_REVOKED`
 */
export async function connectRings(
  lease: QueueLease,
  port: QueuePort,
  ring: DescriptorRing,
): Promise<void> {
  const { descriptorsIova, completionsIova } = ring;
  ring.clear();
  await port.write('TAIL', 0);
  await port.write('COMPLETION_HEAD', 0);
  await port.write('ARM', 0);
  await port.write('RING_ENTRIES', ring.entries);
  await port.write('DESCRIPTORS_LOW', descriptorsIova >>> 0);
  await port.write('DESCRIPTORS_HIGH', Math.floor(descriptorsIova / 2 ** 32));
  await port.write('COMPLETIONS_LOW', completionsIova >>> 0);
  await port.write('COMPLETIONS_HIGH', Math.floor(completionsIova / 2 ** 32));
  await port.writeControl(1);
  const state = await waitForState(lease, port, (now) => now !== ringState.DISCONNECTED);
  if (state !== ringState.CONNECTED) throw await stopReason(port, state);
}

/** Lets the queue drain and waits until the device has let go of the rings. */
export async function disconnectRings(lease: QueueLease, port: QueuePort): Promise<void> {
  await port.writeControl(0);
  await waitForState(lease, port, (now) => now === ringState.DISCONNECTED);
}
