// Descriptors that this process was given by number.
import { Fd } from '../os/fd.js';
import { loadNative } from '../os/native.js';

/**
 * Takes ownership of a descriptor that another process passed to this one: it is duplicated,
 * close-on-exec, and the number closed, for what was passed would be passed on to every child.
 *
 * @throws OsError `EBADF` when it is not open, `EMFILE`
 */
export function adoptFd(number: number): Fd {
  const passed = new Fd(loadNative(), number);
  try {
    return passed.duplicate();
  } finally {
    passed.close();
  }
}
