// Where a measurement was taken.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { repositoryRoot } from './paths.js';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the working tree, `+` after it when the tree was changed since; `unknown` without git. */
  readonly commit: string;
  /** Runnable tasks over the last minute: a busy machine measures badly. */
  readonly load: number;
}

function git(...args: string[]): string {
  return execFileSync('git', args, {
    cwd: repositoryRoot,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
}

function commit(): string {
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? '+' : ''}`;
  } catch {
    return 'unknown';
  }
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: availableParallelism(),
    kernel: release(),
    node: process.versions.node,
    commit: commit(),
    load: Number.parseFloat(readFileSync('/proc/loadavg', 'utf8')),
  };
}
