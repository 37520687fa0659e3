// A soft iommufd that is called by bytes, over fakes; it notes which of its methods were called.

import { type IommufdCommand, iommufdCommands } from '../../uapi/iommufd-commands.js';
import type { Struct } from '../../uapi/struct.js';
import { SoftFiles } from '../soft/ioctl/soft-files.js';
import { SoftIommuFile } from '../soft/ioctl/soft-iommu-file.js';
import type { SoftIommufd } from '../soft/soft-iommufd.js';
import { errnoOf } from './errno-of.js';
import { FakeUserMemory } from './fake-user-memory.js';
import { createSoftWorld } from './soft-world.js';

/** As `iommufd`, and notes the name of every method that is called. */
function noting(iommufd: SoftIommufd, names: string[]): SoftIommufd {
  return new Proxy(iommufd, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]): unknown => {
        names.push(String(name));
        return Reflect.apply(member, target, given);
      };
    },
  });
}

export function createSoftCaller() {
  const world = createSoftWorld();
  const memory = new FakeUserMemory();
  const files = new SoftFiles();
  const called: string[] = [];
  const file = new SoftIommuFile({ iommufd: noting(world.iommufd, called), memory, files });

  /** The result, or the errno. Anything else than an expected error is thrown on. */
  function ioctl(request: number, argument: Uint8Array | bigint): number | string {
    return errnoOf(() => file.ioctl(request, argument));
  }

  /** One whole structure, zero but for some fields; the result, and the structure afterwards. */
  function call<T extends object>(struct: Struct<T>, fields: Partial<T>) {
    const bytes = new Uint8Array(struct.sizeBytes);
    struct.encodeAt({ ...struct.decode(bytes), size: struct.sizeBytes, ...fields }, bytes, 0);
    const result = ioctl(commandOf(struct).request, bytes);
    return { result, fields: struct.decode(bytes), bytes };
  }

  return { ...world, userMemory: memory, files, file, called, ioctl, call };
}

export function commandOf(struct: { readonly name: string }): IommufdCommand {
  const found = iommufdCommands.find((command) => command.struct.name === struct.name);
  if (found === undefined) throw new Error(`no command takes ${struct.name}`);
  return found;
}
