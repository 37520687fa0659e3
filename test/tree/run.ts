// Runs a program to its end, for what is fetched and built once and kept.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const timeoutMs = 240_000;

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** After this it is killed; four minutes unless said otherwise. */
  readonly timeoutMs?: number;
  /** Is given each line of what it writes to stdout, as it comes. */
  readonly onLine?: (line: string) => void;
  /** Ends the program and all that it started. */
  readonly signal?: AbortSignal | undefined;
}

/** Ends a program that leads a process group of its own, and what it started. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/**
 * Runs a program and gives what it wrote to stdout.
 *
 * @throws Error with what it wrote last, when it fails, takes too long or is ended by `signal`.
 */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Error(`${command} was not started: interrupted`));
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive', ...options.env },
      timeout: options.timeoutMs ?? timeoutMs,
      killSignal: 'SIGKILL',
      detached: signal !== undefined,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const stop = (): void => killGroup(child);
    signal?.addEventListener('abort', stop, { once: true });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes) => {
      stdout += String(bytes);
    });
    child.stderr.on('data', (bytes) => {
      stderr += String(bytes);
    });
    if (options.onLine) createInterface({ input: child.stdout }).on('line', options.onLine);
    child.once('error', reject);
    child.once('close', (status, killedBy) => {
      signal?.removeEventListener('abort', stop);
      if (status === 0) return resolve(stdout);
      // Whatever it started must not go on without it.
      if (signal !== undefined) stop();
      const last = `${stdout}\n${stderr}`.trim().split('\n').slice(-3).join(' | ');
      reject(new Error(`${command} ended with ${killedBy ?? status}: ${last}`));
    });
  });
}
