// Randomness of the operating system.
import { randomBytes } from 'node:crypto';

/** Lower-case hexadecimal of `bytes` random bytes. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
