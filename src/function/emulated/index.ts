// The emulated underside: a software device in a worker thread of this process.

import { LessorError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { silentLogger } from '../../base/log.js';
import { GiB, isAligned, MiB, toCount } from '../../base/units.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { PciFunction } from '../types.js';
import { EmulatedFunction } from './emulated-function.js';
import { type EmulatedOs, EmulatedParts } from './emulated-parts.js';
import type { DeviceSource } from './worker-messages.js';

export type { EmulatedOs } from './emulated-parts.js';
export type { DeviceSource } from './worker-messages.js';

export interface EmulatedOptions {
  readonly os: EmulatedOs;
  /** For sealing and truncating windows. Not owned. */
  readonly helpers: HelperPool;
  readonly device: DeviceSource;
  /** Address space for windows and client memory: a multiple of 2 MiB, at most 4 GiB. */
  readonly arenaBytes?: number;
  /** How long the worker looks for work before it sleeps, in microseconds. Default 200. */
  readonly idleSpinMicros?: number;
  /** Longest time that a register access may take. Default 5000. */
  readonly requestDeadlineMs?: number;
  /** Number of the function's life so far. Default 1. */
  readonly epoch?: number;
  readonly log?: Logger;
  /** Name of the function; shows in logs and in the names of its memory. */
  readonly name: string;
}

/**
 * Starts a device in a worker thread and returns the function that it is. The caller disposes it.
 *
 * @throws LessorError `FUNCTION_GONE` when the device does not start, `INVALID_ARGUMENT`.
 */
export async function createEmulatedFunction(options: EmulatedOptions): Promise<PciFunction> {
  const arenaBytes = toCount(options.arenaBytes ?? 4 * GiB, 'arenaBytes', 4 * GiB);
  if (arenaBytes === 0 || !isAligned(arenaBytes, 2 * MiB)) {
    throw new LessorError('INVALID_ARGUMENT', `arenaBytes ${arenaBytes} is not in units of 2 MiB`);
  }
  const parts = await EmulatedParts.create({
    os: options.os,
    helpers: options.helpers,
    device: options.device,
    arenaBytes,
    idleSpinMs: toCount(options.idleSpinMicros ?? 200, 'idleSpinMicros', 1e9) / 1000,
    requestDeadlineMs: options.requestDeadlineMs ?? 5000,
    epoch: options.epoch ?? 1,
    log: options.log ?? silentLogger,
    name: options.name,
  });
  return new EmulatedFunction(parts);
}
