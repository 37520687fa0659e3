// Starts window-client.ts as a child that inherits the descriptors of windows.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Window } from '../types.js';
import type { ClientCommand, ClientReply } from './window-client.js';

const script = fileURLToPath(new URL('./window-client.js', import.meta.url));

export class ClientProcess implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts a client that has mapped `window`, and `status` when given. */
  static async start(window: Window, status?: Window): Promise<ClientProcess> {
    const fds = [window, status].flatMap((one) => (one ? [one.fd!.number] : []));
    const child = fork(script, { stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...fds] });
    const client = new ClientProcess(child);
    const hasStatus = status !== undefined;
    await client.ask({ type: 'map', lengthBytes: window.lengthBytes, hasStatus });
    return client;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Sends a command and waits for its reply. */
  async ask(command: ClientCommand): Promise<ClientReply> {
    this.tell(command);
    return this.reply();
  }

  /** Sends a command; `reply` follows. */
  tell(command: ClientCommand): void {
    this.#child.send(command);
  }

  async reply(): Promise<ClientReply> {
    const [reply] = await once(this.#child, 'message');
    return reply as ClientReply;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
