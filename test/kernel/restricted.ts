// The comparison itself runs without the privileges that switch accounting off.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Enough for what is mapped at a time, but not for all that random sequences try. */
const lockedBytesMax = 3 * 1024 * 1024;
const without = '-ipc_lock,-sys_resource';

/** This program again, with the same output; returns its status. */
export function runRestricted(words: readonly string[], env: Record<string, string>): number {
  const guest = fileURLToPath(new URL('./guest.js', import.meta.url));
  const { status, error } = spawnSync(
    'setpriv',
    [
      ...['--bounding-set', without, '--inh-caps', without],
      ...['prlimit', `--memlock=${lockedBytesMax}:${lockedBytesMax}`],
      ...[process.execPath, guest, ...words],
    ],
    { stdio: 'inherit', env: { ...process.env, ...env } },
  );
  if (error !== undefined) throw error;
  return status ?? 1;
}
