// Options of the edu driver.
import { LessorError } from '../../base/errors.js';
import type { Schema } from '../../base/schema.js';
import { edu } from '../../device/edu/registers.js';

export interface EduDriverOptions {
  /** Bits of an IOVA that the device can send, 20 to 32. Default 28, as QEMU's EDU has. */
  readonly dmaBits: number;
}

const dmaBitsMin = 20;
const dmaBitsMax = 32;

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', `edu options: ${detail}`);
}

/** `{ dmaBits?: number, isolation?: 'exclusive' }`; undefined: all defaults. */
export const eduDriverOptions: Schema<EduDriverOptions> = {
  parse(value) {
    if (value === undefined) return { dmaBits: edu.dmaBitsDefault };
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      refuse('not an object');
    }
    const unknown = Object.keys(value).find((key) => key !== 'dmaBits' && key !== 'isolation');
    if (unknown !== undefined) refuse(`unknown key ${unknown}`);
    const { dmaBits = edu.dmaBitsDefault, isolation } = value as Record<string, unknown>;
    if (isolation !== undefined && isolation !== 'exclusive') refuse('isolation is exclusive');
    if (typeof dmaBits !== 'number' || !Number.isInteger(dmaBits)) refuse('dmaBits is no integer');
    if (dmaBits < dmaBitsMin || dmaBits > dmaBitsMax) {
      refuse(`dmaBits ${dmaBits} is not in ${dmaBitsMin}..${dmaBitsMax}`);
    }
    return { dmaBits };
  },
};
