// The seals of a window's memory, and who has the last word on them: the state, off-thread.
import { LessorError } from '../base/errors.js';
import { hex } from '../base/units.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import { F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL } from '../os/memory-types.js';

/** The seals of a connected window, and the only ones. */
export const windowSeals = F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
const allSeals = 0x1f;

/** Longest time that sealing a window may take: the holder can block it. */
const sealDeadlineMs = 1000;

/**
 * Adds the seals that a connected window has besides GROW, and looks at what is there then: the
 * holder may have added the same first, or other ones.
 *
 * @throws LessorError `WINDOW_SEALS` for any other seals or length; `DEADLINE_EXCEEDED`,
 *   `QUOTA_EXCEEDED` of the helpers; OsError.
 */
export async function sealWindow(
  helpers: HelperPool,
  fd: Fd,
  windowBytes: number,
  uid: number,
): Promise<void> {
  const wanted = windowSeals & ~F_SEAL_GROW;
  const terms = { uid, deadlineMs: sealDeadlineMs };
  const { seals, lengthBytes } = await helpers.seal(fd, wanted, terms);
  if ((seals & allSeals) !== windowSeals) {
    throw new LessorError('WINDOW_SEALS', `the window's memory has seals ${hex(seals)}`);
  }
  if (lengthBytes !== windowBytes) {
    throw new LessorError('WINDOW_SEALS', `the window's memory has ${lengthBytes} bytes`);
  }
}
