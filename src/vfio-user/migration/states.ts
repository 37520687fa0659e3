// The states of a migrating device and the ways between them. Pure.
import {
  VFIO_DEVICE_STATE_ERROR,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
} from '../../uapi/vfio.js';
import type { MigrationState } from '../endpoint.js';

export const stateNumbers: Readonly<Record<MigrationState, number>> = {
  error: VFIO_DEVICE_STATE_ERROR,
  stop: VFIO_DEVICE_STATE_STOP,
  running: VFIO_DEVICE_STATE_RUNNING,
  'stop-copy': VFIO_DEVICE_STATE_STOP_COPY,
  resuming: VFIO_DEVICE_STATE_RESUMING,
  'pre-copy': VFIO_DEVICE_STATE_PRE_COPY,
};

export const migrationStates = Object.keys(stateNumbers) as readonly MigrationState[];

/** Undefined for a number that vfio-user does not use. */
export function stateOf(number: number): MigrationState | undefined {
  return migrationStates.find((state) => stateNumbers[state] === number);
}

const arcs: Readonly<Record<MigrationState, readonly MigrationState[]>> = {
  error: [],
  stop: ['running', 'stop-copy', 'resuming'],
  running: ['stop', 'pre-copy'],
  'stop-copy': ['stop'],
  resuming: ['stop'],
  'pre-copy': ['running', 'stop-copy'],
};

/** The state is being read: such states only begin or end a way. */
export function isSaving(state: MigrationState): boolean {
  return state === 'stop-copy' || state === 'pre-copy';
}

/**
 * The states to go through, `to` the last; none when the device is there already.
 *
 * @param preCopy - The device has that state.
 * @returns The shortest way without saving states in between; undefined: there is none.
 * @see vfio-user "Complex State Transitions"
 */
export function migrationPath(
  from: MigrationState,
  to: MigrationState,
  preCopy: boolean,
): readonly MigrationState[] | undefined {
  if (from === 'error' || to === 'error' || (!preCopy && to === 'pre-copy')) return undefined;
  if (from === to) return [];
  // Forbidden by name: what was copied since the device stopped would be lost.
  if (from === 'stop-copy' && to === 'pre-copy') return undefined;
  let ways: (readonly MigrationState[])[] = arcs[from].map((next) => [next]);
  for (const _ of migrationStates) {
    const found = ways.find((way) => way.at(-1) === to);
    if (found !== undefined) return found;
    ways = ways.flatMap((way) => {
      const last = way.at(-1) as MigrationState;
      return isSaving(last) ? [] : arcs[last].map((next) => [...way, next]);
    });
  }
  return undefined;
}
