// Which descriptors a process has open, by asking /proc: what no bookkeeping of ours can hide.
import { readdirSync, readlinkSync } from 'node:fs';

/** Descriptor number to the kernel's name of what it refers to. */
export function openDescriptors(pid: number | 'self' = 'self'): Map<number, string> {
  const found = new Map<number, string>();
  const folder = `/proc/${pid}/fd`;
  for (const entry of readdirSync(folder)) {
    try {
      found.set(Number(entry), readlinkSync(`${folder}/${entry}`));
    } catch {
      // The descriptor of this very listing.
    }
  }
  return found;
}

/** How many descriptors this process has open. */
export function openCount(): number {
  return openDescriptors().size;
}
