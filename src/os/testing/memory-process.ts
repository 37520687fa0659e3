// Starts the processes that memory tests attack with, or sacrifice.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Fd } from '../fd.js';
import type { PeerCall, PeerReply } from './memory-peer.js';

export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** A running script; `fds` are its descriptors from 4 on, 3 being its channel. */
export class TestProcess implements Disposable {
  readonly #child: ChildProcess;
  #output = '';
  readonly ended: Promise<Ending>;

  constructor(script: string, args: readonly string[], fds: readonly Fd[] = []) {
    const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
    // No core dumps: dying of a signal is what some of them are for.
    const shell = ['-c', 'ulimit -c 0; exec "$@"', 'sh', process.execPath, path, ...args];
    const numbers = fds.map((fd) => fd.number);
    this.#child = spawn('sh', shell, { stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...numbers] });
    const collect = (text: Buffer): void => {
      this.#output += text.toString();
    };
    this.#child.stdout?.on('data', collect);
    this.#child.stderr?.on('data', collect);
    this.ended = once(this.#child, 'close').then(([status, signal]) => ({
      status,
      signal,
      output: this.#output,
    }));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The next message of the process; rejects when it ends first. */
  async message(): Promise<unknown> {
    const gone = this.ended.then(({ output }) => Promise.reject(new Error(`it ended: ${output}`)));
    const [message] = await Promise.race([once(this.#child, 'message'), gone]);
    return message;
  }

  /** Lets a memory-peer do something. */
  async call(call: PeerCall): Promise<PeerReply> {
    const reply = this.message();
    this.#child.send(call);
    return (await reply) as PeerReply;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
