// C floors: compiled when first asked for, run beside ours in the same run.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { assert, LessorError } from '../src/base/errors.js';
import { systemClock } from '../src/os/clock.js';
import { childProgram, floorSources } from './paths.js';

/** A process that takes samples when told to: a C floor, or a client of ours. */
export class Sampler implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<void>;

  /** The child speaks the protocol of floor/floor.h over stdin and stdout. */
  constructor(child: ChildProcess) {
    assert(child.stdin && child.stdout, 'a sampler needs pipes');
    this.#child = child;
    child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.#exited = new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('exit', () => resolve());
    });
  }

  get pid(): number {
    assert(this.#child.pid !== undefined, 'a sampler that did not start');
    return this.#child.pid;
  }

  /** Sends a signal; nothing when it has ended. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The next line of its output. @throws LessorError `BROKER_GONE` when there is none. */
  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done) {
      await this.#exited;
      const { exitCode, signalCode } = this.#child;
      throw new LessorError('BROKER_GONE', `a benchmark process ended (${signalCode ?? exitCode})`);
    }
    return next.value;
  }

  /** Sends a line and waits for the line that answers it. */
  ask(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    return this.line();
  }

  /** @returns Nanoseconds per operation, one for each sample. */
  async sample(what: string, sampleCount: number, batch: number): Promise<number[]> {
    const answer = await this.ask(`${what} ${sampleCount} ${batch}`);
    const samples = answer.split(' ').map(Number);
    assert(samples.length === sampleCount && samples.every((ns) => ns >= 0), answer.slice(0, 100));
    return samples;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    const timer = systemClock.after(5000, () => this.#child.kill('SIGKILL'));
    await this.#exited;
    timer[Symbol.dispose]();
  }
}

export interface ProgramOptions {
  /** Run on this CPU alone: index into the CPUs this process may use. */
  readonly cpuIndex?: number;
  /** Passed as descriptor 3; stays the caller's. */
  readonly sharedFd?: number;
}

/** Compiles and starts floors. Everything it made goes with it. */
export class FloorTools implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lessor-bench-'));
  readonly #compiled = new Map<string, string>();

  /** Path of a compiled floor. */
  program(name: string): string {
    const known = this.#compiled.get(name);
    if (known !== undefined) return known;
    const path = join(this.#folder, name);
    const source = join(floorSources, `${name}.c`);
    const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE'];
    execFileSync(process.env.CC ?? 'cc', [...flags, '-o', path, source], { stdio: 'pipe' });
    this.#compiled.set(name, path);
    return path;
  }

  /** Starts any command, pinned when asked. */
  spawn(command: readonly string[], options: ProgramOptions = {}): ChildProcess {
    const pinned =
      options.cpuIndex === undefined
        ? command
        : [this.program('pin'), String(cpuNumber(options.cpuIndex)), ...command];
    return spawn(pinned[0]!, pinned.slice(1), {
      stdio: ['pipe', 'pipe', 'inherit', options.sharedFd ?? 'ignore'],
    });
  }

  /** Starts a C floor. */
  floor(name: string, args: readonly string[] = [], options: ProgramOptions = {}): Sampler {
    return new Sampler(this.spawn([this.program(name), ...args], options));
  }

  /** Starts a program of `bench/children` under this Node. */
  child(name: string, args: readonly string[] = [], options: ProgramOptions = {}): Sampler {
    return new Sampler(this.spawn([process.execPath, childProgram(name), ...args], options));
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Numbers of a kernel CPU list such as `0-1,4`. */
export function parseCpuList(list: string): number[] {
  return list
    .trim()
    .split(',')
    .flatMap((part) => {
      const [first, last] = part.split('-').map(Number);
      assert(first !== undefined, `CPU list ${list}`);
      return Array.from({ length: (last ?? first) - first + 1 }, (_, index) => first + index);
    });
}

function cpuNumber(index: number): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '0');
  const cpu = allowed[index];
  if (cpu === undefined) {
    throw new LessorError('UNSUPPORTED', `needs ${index + 1} CPUs; ${allowed.length} here`);
  }
  return cpu;
}
