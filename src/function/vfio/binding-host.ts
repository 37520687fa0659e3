// What binding changes and asks of the machine; a parameter, so that tests can be the kernel.
import { accessSync, constants, existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Clock } from '../../base/clock.js';
import { type Errno, errnoNumbers } from '../../base/errno.js';
import { OsError } from '../../base/errors.js';
import { systemClock } from '../../os/clock.js';
import { type HostTables, systemTables } from './host-use.js';
import { type NodeHolder, nodeHolders } from './node-holders.js';
import { SysfsFiles } from './sysfs-files.js';

export interface BindingHost {
  readonly files: SysfsFiles;
  readonly tables: HostTables;
  readonly clock: Clock;
  /**
   * Writes to an attribute. Off this thread: the kernel answers when it has done what was asked,
   * which a process that has the function open can delay.
   *
   * @throws OsError
   */
  write(relative: string, text: string): Promise<void>;
  /** Why attributes of this process's choice cannot be written. */
  unwritable(relative: string): 'denied' | 'read-only' | undefined;
  hasNode(path: string): boolean;
  holders(paths: readonly string[]): NodeHolder[];
}

/** This machine, or another root of sysfs. */
export function createBindingHost(files = new SysfsFiles()): BindingHost {
  return {
    files,
    tables: systemTables,
    clock: systemClock,
    write: (relative, text) => writeAttribute(files.path(relative), text),
    unwritable(relative) {
      try {
        accessSync(files.path(relative), constants.W_OK);
        return undefined;
      } catch (error) {
        return errnoOfNode(error) === 'EROFS' ? 'read-only' : 'denied';
      }
    },
    hasNode: existsSync,
    holders: (paths) => nodeHolders(paths),
  };
}

async function writeAttribute(path: string, text: string): Promise<void> {
  let file: FileHandle | undefined;
  try {
    // Neither created nor read: most that take a write cannot be.
    file = await open(path, constants.O_WRONLY);
    await file.write(text);
  } catch (error) {
    throw new OsError(errnoOfNode(error), 'write', path);
  } finally {
    await file?.close();
  }
}

function errnoOfNode(error: unknown): Errno {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return code in errnoNumbers ? (code as Errno) : 'EIO';
}
