// Which broker a command talks to.
import type { Command } from 'commander';
import { adminPathOf, findControlSocket } from '../client/run-directory.js';

/** The control socket named by --socket, $LESSOR_SOCKET, or the only one there is. */
export function socketOf(command: Command): string {
  const { socket } = command.optsWithGlobals<{ socket?: string }>();
  return findControlSocket(socket, process.env, process.getuid?.() ?? 0);
}

export function adminSocketOf(command: Command): string {
  return adminPathOf(socketOf(command));
}
