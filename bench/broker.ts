// A broker for benchmarks: `lessor serve` in a process of its own, with a socket of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FloorTools, Sampler } from './floor.js';
import { repositoryRoot } from './paths.js';

export const lessorProgram = join(repositoryRoot, 'bin', 'lessor.js');

export class BenchBroker implements AsyncDisposable {
  readonly socketPath: string;
  readonly pid: number;
  readonly #folder: string;
  readonly #process: Sampler;

  private constructor(folder: string, socketPath: string, process: Sampler) {
    this.#folder = folder;
    this.socketPath = socketPath;
    this.#process = process;
    this.pid = process.pid;
  }

  /** Starts a broker and waits until it takes requests. */
  static async start(floors: FloorTools, words: readonly string[] = []): Promise<BenchBroker> {
    const folder = mkdtempSync(join(tmpdir(), 'lessor-bench-broker-'));
    const socketPath = join(folder, 'control.sock');
    const serve = ['--socket', socketPath, 'serve', '--json', '--log', 'error', ...words];
    const process_ = new Sampler(floors.spawn([process.execPath, lessorProgram, ...serve]));
    const broker = new BenchBroker(folder, socketPath, process_);
    try {
      await process_.line();
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.signal('SIGTERM');
    await this.#process[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
