// A function that another process serves over vfio-user, named on the command line.
import { LessorError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { PciFunction } from '../function/types.js';
import { createVfioUserFunction } from '../function/vfio-user/index.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';

export interface ServedFunctionOptions {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly name: string;
  /** `vfio-user:PATH`. */
  readonly source: string;
  readonly log: Logger;
}

const scheme = 'vfio-user:';

/**
 * Connects to the server of a function.
 *
 * @throws LessorError `INVALID_ARGUMENT` for a source that names no server; OsError of connect;
 *   others as `createVfioUserFunction`.
 */
export async function connectServedFunction(options: ServedFunctionOptions): Promise<PciFunction> {
  const { os, helpers, name, source, log } = options;
  const path = source.startsWith(scheme) ? source.slice(scheme.length) : '';
  if (path === '') {
    const detail = `function "${source}" is not of the form ${scheme}PATH`;
    throw new LessorError('INVALID_ARGUMENT', detail);
  }
  return createVfioUserFunction({ os, helpers, name, path, log });
}
