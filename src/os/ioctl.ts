// ioctl, and what else device nodes and their files need.
import { OsError } from '../base/errors.js';
import { hex } from '../base/units.js';
import { Fd, type FdCalls } from './fd.js';
import type { IoctlOs } from './ioctl-types.js';
import type { FileCalls } from './native-files.js';
import { checkInteger, checkResult } from './native-result.js';

// poll.h
const POLLIN = 0x1;
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;

/** The real operating system's. */
export function createIoctlOs(native: FileCalls & FdCalls): IoctlOs {
  return {
    ioctl(fd, request, argument) {
      checkInteger(request, 'ioctl', 'request');
      if (typeof argument === 'number') checkInteger(argument, 'ioctl', 'argument');
      const result = native.ioctl(fd.number, request, argument);
      return checkResult(result, 'ioctl', hex(request));
    },
    open(path, flags) {
      if (path.includes('\0')) throw new OsError('EINVAL', 'open', 'NUL in the path');
      return new Fd(native, checkResult(native.open(path, flags), 'open', path));
    },
    adopt(descriptor) {
      return new Fd(native, descriptor);
    },
    read(fd, into) {
      return checkResult(native.read(fd.number, into), 'read');
    },
    write(fd, bytes) {
      return checkResult(native.write(fd.number, bytes), 'write');
    },
    readAt(fd, into, offsetBytes) {
      checkInteger(offsetBytes, 'pread', 'offset');
      return checkResult(native.pread(fd.number, into, offsetBytes), 'pread', hex(offsetBytes));
    },
    writeAt(fd, bytes, offsetBytes) {
      checkInteger(offsetBytes, 'pwrite', 'offset');
      return checkResult(native.pwrite(fd.number, bytes, offsetBytes), 'pwrite', hex(offsetBytes));
    },
    isReadable(fd) {
      const events = checkResult(native.pollNow(fd.number, POLLIN), 'poll');
      if ((events & POLLNVAL) !== 0) throw new OsError('EBADF', 'poll');
      return (events & (POLLIN | POLLERR | POLLHUP)) !== 0;
    },
    addressOf(view) {
      return BigInt(checkResult(native.addressOf(view), 'addressOf', 'no bytes'));
    },
  };
}
