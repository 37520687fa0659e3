// The process of vm-child.ts as its test sees it.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually } from './broker-fixture.js';

const script = fileURLToPath(new URL('./vm-child.js', import.meta.url));

export interface VmOptions {
  readonly path?: string;
  /** Becomes 4 of the process. */
  readonly fd?: number;
  readonly uid?: number;
}

export class VmProcess implements AsyncDisposable {
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  #stores = 0;
  failed: string | undefined;
  /** What it read of the word it had just stored. */
  isFaithful = true;

  constructor({ path, fd, uid }: VmOptions) {
    this.#child = fork(script, {
      env: { ...process.env, ...(path === undefined ? {} : { LESSOR_TEST_PATH: path }) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...(fd === undefined ? [] : [fd])],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    this.#child.on('message', (message: { stores: number; reads: number; failed?: string }) => {
      this.failed ??= message.failed;
      this.#stores = message.stores;
      this.isFaithful &&= message.reads === message.stores;
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(String(signal ?? code)));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when it has stored again since, which it does only while it lives. */
  async storesOn(): Promise<void> {
    const before = this.#stores;
    await eventually('further stores', () => this.#stores > before);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exited;
  }
}
