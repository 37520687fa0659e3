// Options of the mqdma driver.
import { LessorError } from '../../base/errors.js';
import type { Schema } from '../../base/schema.js';

export const mqdmaIsolations = ['pasid', 'device-bounds', 'cooperative'] as const;
export type MqdmaIsolation = (typeof mqdmaIsolations)[number];

export interface MqdmaDriverOptions {
  /** Undefined: `pasid` where the function has PASIDs, else `device-bounds`. */
  readonly isolation: MqdmaIsolation | undefined;
}

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', `mqdma options: ${detail}`);
}

/** `{ isolation?: 'pasid' | 'device-bounds' | 'cooperative' }`; undefined: all defaults. */
export const mqdmaDriverOptions: Schema<MqdmaDriverOptions> = {
  parse(value) {
    if (value === undefined) return { isolation: undefined };
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      refuse('not an object');
    }
    const unknown = Object.keys(value).find((key) => key !== 'isolation');
    if (unknown !== undefined) refuse(`unknown key ${unknown}`);
    const { isolation } = value as { isolation?: unknown };
    if (isolation === undefined) return { isolation: undefined };
    const known = mqdmaIsolations.find((name) => name === isolation);
    return { isolation: known ?? refuse(`isolation is one of ${mqdmaIsolations.join(', ')}`) };
  },
};
