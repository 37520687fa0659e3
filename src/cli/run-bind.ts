// What `lessor bind` and `lessor unbind` do.
import { join } from 'node:path';
import { makeRunDirectory, ownRunDirectory } from '../client/run-directory.js';
import { type BindingOptions, bindFunctions, unbindFunction } from '../function/vfio/binding.js';
import { createBindingHost } from '../function/vfio/binding-host.js';
import { BindingFolder } from '../function/vfio/binding-record.js';
import { parsePciAddress } from '../function/vfio/pci-address.js';
import { printJson, tell } from './output.js';

export interface BindingOptionsGiven {
  readonly force?: boolean;
  readonly json?: boolean;
}

/** What functions were is remembered beside the sockets, until the machine is started anew. */
class RunDirectoryRecords extends BindingFolder {
  readonly #directory: string;

  constructor(directory: string) {
    super(join(directory, 'bindings'));
    this.#directory = directory;
  }

  override write(...words: Parameters<BindingFolder['write']>): void {
    makeRunDirectory(this.#directory, process.getuid?.() ?? 0);
    super.write(...words);
  }
}

function bindingOptions(options: BindingOptionsGiven): BindingOptions {
  const directory = ownRunDirectory(process.env, process.getuid?.() ?? 0);
  return {
    host: createBindingHost(),
    records: new RunDirectoryRecords(directory),
    force: options.force ?? false,
    tell: (line) => tell(`lessor: ${line}`),
  };
}

/** Gives functions to vfio-pci. */
export async function runBind(
  addresses: readonly string[],
  options: BindingOptionsGiven,
): Promise<void> {
  const bound = await bindFunctions(addresses.map(parsePciAddress), bindingOptions(options));
  if (options.json) return printJson({ functions: bound });
  for (const { address, driver, group, node, changed } of bound) {
    const how = changed ? 'is now' : 'was already';
    tell(`${address} ${how} with ${driver}, group ${group}: ${node}`);
  }
}

/** Gives functions back, in order; the first that fails ends it. */
export async function runUnbind(
  addresses: readonly string[],
  options: BindingOptionsGiven,
): Promise<void> {
  const all = addresses.map(parsePciAddress);
  const own = bindingOptions(options);
  const functions = [];
  for (const address of all) functions.push(await unbindFunction(address, own));
  if (options.json) {
    const rows = functions.map((one) => ({ ...one, driver: one.driver ?? null }));
    return printJson({ functions: rows });
  }
  for (const { address, driver, changed } of functions) {
    const whose = driver === undefined ? 'no driver' : driver;
    tell(`${address} ${changed ? 'is back' : 'was already'} with ${whose}`);
  }
}
