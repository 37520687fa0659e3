// The number of a function's life, kept beside the control socket so that it outlives a broker.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** The next epoch for a broker on this socket; 1 for the first. */
export function nextEpoch(path: string): number {
  let last = 0;
  try {
    const value = Number(readFileSync(path, 'utf8'));
    if (Number.isSafeInteger(value) && value > 0) last = value;
  } catch {
    // The first broker here.
  }
  const next = last + 1;
  keepEpoch(path, next);
  return next;
}

/** Notes the epoch after a function reset. */
export function keepEpoch(path: string, epoch: number): void {
  writeFileSync(`${path}.new`, `${epoch}\n`, { mode: 0o644 });
  renameSync(`${path}.new`, path);
}
