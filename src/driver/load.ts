// Finding and loading a driver: built-in by name, a file by path, or a package.
import { createRequire } from 'node:module';
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { LessorError } from '../base/errors.js';
import { hex } from '../base/units.js';
import type { FunctionInfo } from '../function/types.js';
import { eduDriver } from './edu/driver.js';
import { mqdmaDriver } from './mqdma/driver.js';
import { checkTrusted } from './trust.js';
import type { Driver } from './types.js';

export interface LoadOptions {
  /** The broker's uid: whose files are trusted besides root's. */
  readonly uid: number;
  /** Where relative paths and packages are looked up. Default: the working directory. */
  readonly directory?: string;
}

/** Names that are taken; a package of the same name is reached by its path. */
const builtIn: ReadonlyMap<string, Driver<unknown>> = new Map([
  [mqdmaDriver.name, mqdmaDriver as Driver<unknown>],
  [eduDriver.name, eduDriver as Driver<unknown>],
]);

function isPath(name: string): boolean {
  return isAbsolute(name) || name.startsWith('./') || name.startsWith('../');
}

function locate(name: string, directory: string): string {
  if (isPath(name)) return resolve(directory, name);
  try {
    return createRequire(resolve(directory, 'driver.js')).resolve(name);
  } catch (error) {
    const known = [...builtIn.keys()].join(', ');
    const detail = `"${name}" is no package here and no built-in driver (${known})`;
    throw new LessorError('DRIVER_NOT_FOUND', detail, { cause: error });
  }
}

/** True for what `defineDriver` returns, from any copy of this package. */
function isDriver(value: unknown): value is Driver<unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const driver = value as Partial<Record<keyof Driver<unknown>, unknown>>;
  const options = driver.options as { parse?: unknown } | null | undefined;
  return (
    typeof driver.name === 'string' &&
    driver.name !== '' &&
    typeof driver.match === 'function' &&
    typeof driver.start === 'function' &&
    typeof options === 'object' &&
    typeof options?.parse === 'function'
  );
}

/**
 * Loads a driver. Its code runs in this process with everything this process has, so its file must
 * belong to root or `uid` and be writable by nobody else, as must every directory above it.
 *
 * @param name - A built-in driver, a path (`/`, `./`, `../`), or a package.
 * @throws LessorError `DRIVER_NOT_FOUND`, `DRIVER_UNTRUSTED`, `DRIVER_INVALID`
 */
export async function loadDriver(name: string, options: LoadOptions): Promise<Driver<unknown>> {
  const known = builtIn.get(name);
  if (known !== undefined) return known;
  const path = await checkTrusted(locate(name, options.directory ?? process.cwd()), options.uid);
  let module: { readonly default?: unknown };
  try {
    module = (await import(pathToFileURL(path).href)) as { readonly default?: unknown };
  } catch (error) {
    throw new LessorError('DRIVER_INVALID', `${path} cannot be loaded`, { cause: error });
  }
  if (!isDriver(module.default)) {
    throw new LessorError('DRIVER_INVALID', `${path} has no driver as its default export`);
  }
  return module.default;
}

/**
 * The built-in driver for a function.
 *
 * @throws LessorError `DRIVER_NOT_FOUND` when none knows it.
 */
export function matchDriver(info: FunctionInfo): Driver<unknown> {
  const found = [...builtIn.values()].find((driver) => driver.match(info));
  if (found !== undefined) return found;
  const what = `${info.name} (${hex(info.vendorId)}:${hex(info.deviceId)})`;
  const known = [...builtIn.keys()].join(', ');
  throw new LessorError('DRIVER_NOT_FOUND', `no built-in driver (${known}) fits ${what}`);
}
