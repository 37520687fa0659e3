// What the server says no with, for every command alike.
import { ProtocolError } from '../base/errors.js';

/** Ends a command with EINVAL. */
export function refuse(field: string, offsetBytes: number, detail: string): never {
  throw new ProtocolError(field, offsetBytes, detail);
}

/** argsz says how large a reply may be; it must have room for the fixed part. */
export function checkArgsz(name: string, argsz: number, bytes: number): void {
  if (argsz < bytes) refuse(`${name}.argsz`, 0, `${argsz} instead of at least ${bytes}`);
}
