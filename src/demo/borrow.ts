// A function of this machine for the time of the story: taken from nobody, given back after.
import { join } from 'node:path';
import { makeRunDirectory, ownRunDirectory } from '../client/run-directory.js';
import { type BindingOptions, bindFunctions, unbindFunction } from '../function/vfio/binding.js';
import { createBindingHost } from '../function/vfio/binding-host.js';
import { BindingFolder } from '../function/vfio/binding-record.js';
import { pciAddressOf } from '../function/vfio/pci-address.js';
import type { Story } from './story.js';

/**
 * Gives a function to vfio-pci unless it has it; when disposed, to whom it was.
 *
 * @param source - What `--function` named: what is no PCI address is left alone.
 * @throws as `bindFunctions`: `FUNCTION_BUSY` when the host uses it.
 */
export async function borrowFunction(source: string, story: Story): Promise<AsyncDisposable> {
  const address = pciAddressOf(source);
  if (address === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  const uid = process.getuid?.() ?? 0;
  const directory = ownRunDirectory(process.env, uid);
  makeRunDirectory(directory, uid);
  const options: BindingOptions = {
    host: createBindingHost(),
    records: new BindingFolder(join(directory, 'bindings')),
    tell: (line) => story.detail(line),
  };
  const [bound] = await bindFunctions([address], options);
  if (bound?.changed !== true) return { [Symbol.asyncDispose]: async () => undefined };
  story.heading(`${address} is with ${bound.driver} for the time of this: ${bound.node}`);
  return {
    async [Symbol.asyncDispose]() {
      const { driver = 'no driver' } = await unbindFunction(address, options);
      story.heading(`${address} is back with ${driver}`);
    },
  };
}
