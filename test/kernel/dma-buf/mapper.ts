// A process of its own that maps a dma-buf without any guard: mapper.c, compiled where it runs.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AssertionFailure } from '../../../src/base/errors.js';
import type { Fd } from '../../../src/os/fd.js';
import { rootPath } from '../../tools/root.js';

export interface MapRequest {
  /** Default 0. Eight there are. */
  readonly slot?: number;
  readonly kind?: 'shared' | 'private';
  readonly access?: 'r' | 'rw';
  readonly firstPage?: number;
  /** Default 1. */
  readonly pages?: number;
}

/** The compiler's work, done once for any number of processes. */
export class MapperProgram implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lessor-mapper-'));

  /** @throws AssertionFailure with what the compiler said */
  constructor() {
    const source = rootPath('test/kernel/dma-buf/mapper.c');
    const flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-o', this.#path, source];
    const { status, stderr, error } = spawnSync('cc', flags, { encoding: 'utf8' });
    if (status === 0) return;
    this[Symbol.dispose]();
    throw new AssertionFailure(`cc: ${error?.message ?? stderr}`);
  }

  get #path(): string {
    return join(this.#folder, 'mapper');
  }

  /** @param fd - The process gets a descriptor of its own. */
  start(fd: Fd): Mapper {
    return new Mapper(spawn(this.#path, { stdio: ['pipe', 'pipe', 'inherit', fd.number] }));
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Every method resolves to what the process answered: "ok", a number, "SIGBUS" or an errno. */
export class Mapper implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #end: Promise<void>;

  constructor(child: ChildProcess) {
    const { stdin, stdout } = child;
    if (!stdin || !stdout) throw new AssertionFailure('a process without pipes');
    this.#child = child;
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
    this.#end = new Promise((resolve) => child.once('close', () => resolve()));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new AssertionFailure(`the mapper ended at "${line}"`);
    return value;
  }

  map(request: MapRequest = {}): Promise<string> {
    const { slot = 0, kind = 'shared', access = 'rw', firstPage = 0, pages = 1 } = request;
    return this.ask(`map ${slot} ${kind} ${access} ${firstPage} ${pages}`);
  }

  read(byte = 0, slot = 0): Promise<string> {
    return this.ask(`read ${slot} ${byte}`);
  }

  write(byte: number, value: number, slot = 0): Promise<string> {
    return this.ask(`write ${slot} ${byte} ${value.toString(16)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#end;
  }
}
