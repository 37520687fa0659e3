// Runs the `lessor` command as users do: real processes, real sockets, a folder of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rootPath } from '../tools/root.js';
import { insideVariable } from '../vm/inside.js';

export const lessorPath = rootPath('bin/lessor.js');
/** Machines that run tests can be busy, emulated ones slow too: only a hang is a failure. */
export const patienceMs = process.env[insideVariable] === undefined ? 60_000 : 240_000;

export interface Finished {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Keep standard input open, for `tell`. */
  readonly talks?: boolean;
  /** Another program than Node with bin/lessor.js. */
  readonly program?: readonly string[];
}

/** A process under way, with what it wrote so far. */
export class Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  stdout = '';
  stderr = '';
  #isOver = false;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (bytes) => {
      this.stdout += String(bytes);
    });
    child.stderr?.on('data', (bytes) => {
      this.stderr += String(bytes);
    });
    this.finished = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => {
        this.#isOver = true;
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    this.finished.catch(() => undefined);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Resolves with the first match in what the process has written. */
  async saying(pattern: RegExp, where: 'stdout' | 'stderr' = 'stdout'): Promise<RegExpExecArray> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      const match = pattern.exec(this[where]);
      if (match !== null) return match;
      if (this.#isOver || performance.now() > untilMs) {
        throw new Error(`${pattern} not seen on ${where}: ${this.stdout}\n${this.stderr}`);
      }
      await sleep(5);
    }
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    this.kill(signal);
    return this.finished;
  }
}

/** A folder for sockets, and every process that was started in it. */
export class Bench {
  readonly directory: string;
  readonly #running: Running[] = [];

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'lessor-test-'));
  }

  /** Starts `lessor` with some words; its sockets are looked for in this bench's folder alone. */
  start(words: readonly string[], options: StartOptions = {}): Running {
    const { env = {}, cwd, talks = false, program = [process.execPath, lessorPath] } = options;
    const [command = '', ...first] = program;
    const { LESSOR_SOCKET: _, ...inherited } = process.env;
    const child = spawn(command, [...first, ...words], {
      env: { ...inherited, LESSOR_RUN_DIR: this.directory, ...env },
      stdio: [talks ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
    });
    const running = new Running(child);
    this.#running.push(running);
    return running;
  }

  /** Runs `lessor` to its end. */
  run(words: readonly string[], options: StartOptions = {}): Promise<Finished> {
    return this.start(words, options).finished;
  }

  /** Starts a broker and waits until it takes requests. */
  async serve(words: readonly string[] = [], options: StartOptions = {}): Promise<Running> {
    const broker = this.start(['serve', '--json', '--queues', '4', ...words], options);
    await broker.saying(/\n/);
    return broker;
  }

  /** Ends what still runs, and removes the folder. */
  async clear(): Promise<void> {
    for (const running of this.#running) running.kill('SIGKILL');
    await Promise.all(this.#running.map(({ finished }) => finished.catch(() => undefined)));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Asks again until the answer is there. */
export async function eventually<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > untilMs) throw new Error('it did not come about');
    await sleep(10);
  }
}
