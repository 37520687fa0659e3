// ioctl and open, for device nodes.
import { OsError } from '../base/errors.js';
import { Fd, type FdCalls } from './fd.js';
import type { IoctlOs } from './ioctl-types.js';
import type { FileCalls } from './native-files.js';
import { checkInteger, checkResult } from './native-result.js';

/** The real operating system's. */
export function createIoctlOs(native: FileCalls & FdCalls): IoctlOs {
  return {
    ioctl(fd, request, argument) {
      checkInteger(request, 'ioctl', 'request');
      if (typeof argument === 'number') checkInteger(argument, 'ioctl', 'argument');
      const result = native.ioctl(fd.number, request, argument);
      return checkResult(result, 'ioctl', `0x${request.toString(16)}`);
    },
    open(path, flags) {
      if (path.includes('\0')) throw new OsError('EINVAL', 'open', 'NUL in the path');
      return new Fd(native, checkResult(native.open(path, flags), 'open', path));
    },
  };
}
