// A broker of the demo: `lessor serve` in a process of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LessorError } from '../base/errors.js';

export type DemoMode = 'pasid' | 'device-bounds' | 'cooperative';

const program = fileURLToPath(new URL('../../../bin/lessor.js', import.meta.url));
/** An emulated machine that others use too takes its time. */
const readyMs = 240_000;
const stopMs = 10_000;
/** For its function: so is often that of an emulated machine. */
const patience = '10';

const living = new Set<ChildProcess>();

export class BrokerProcess {
  readonly mode: DemoMode;
  readonly socketPath: string;
  readonly #child: ChildProcess;
  readonly exited: Promise<number | null>;

  private constructor(mode: DemoMode, socketPath: string, child: ChildProcess) {
    this.mode = mode;
    this.socketPath = socketPath;
    this.#child = child;
    living.add(child);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        living.delete(child);
        resolve(code);
      });
    });
  }

  /** For an end in a hurry: no broker outlives the demo. */
  static killAll(): void {
    for (const child of living) child.kill('SIGKILL');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Starts a broker and waits until it takes requests. */
  static async start(
    mode: DemoMode,
    directory: string,
    options: { leakDescriptor: boolean; source: string | undefined },
  ): Promise<BrokerProcess> {
    const socketPath = join(directory, `${mode}.sock`);
    const words = ['--socket', socketPath, 'serve', '--json', '--isolation', mode];
    words.push('--fault-injection', '--log', 'error');
    if (options.source !== undefined) {
      words.push('--function', options.source, '--driver', 'mqdma', '--patience', patience);
    }
    if (mode === 'cooperative') words.push('--allow-cooperative');
    if (options.leakDescriptor) words.push('--leak-descriptor');
    const child = spawn(process.execPath, [program, ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const broker = new BrokerProcess(mode, socketPath, child);
    try {
      await broker.#ready();
    } catch (error) {
      // Whoever gets the function next finds it closed.
      child.kill('SIGKILL');
      await broker.exited;
      throw error;
    }
    return broker;
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new LessorError('DRIVER_FAILED', why));
      const timer = AbortSignal.timeout(readyMs);
      timer.addEventListener('abort', () => fail('the broker did not become ready'));
      this.#child.stdout?.once('data', () => resolve());
      void this.exited.then((code) => fail(`the broker ended with status ${code}`));
    });
  }

  /** Asks the broker to end and waits for it. @returns Its exit status. */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    const late = AbortSignal.timeout(stopMs);
    late.addEventListener('abort', () => this.#child.kill('SIGKILL'));
    return this.exited;
  }
}
