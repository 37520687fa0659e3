// What a group of cases works with: a folder, QEMUs, real server processes, and taps between them.
// `clear` ends and removes all of it.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Os } from '../../src/os/index.js';
import { Bench, type Running } from '../support/lessor.js';
import type { QemuTree } from '../tree/qemu-tree.js';
import { Qemu, type QemuOptions } from './qemu/qemu.js';
import { type Seen, Tap } from './tap.js';

const patienceMs = 30_000;

/** Asks again until it is true. */
export async function eventually(
  ask: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const untilMs = performance.now() + patienceMs;
  while (!(await ask())) {
    if (performance.now() > untilMs) throw new Error(`did not come about: ${what}`);
    await sleep(5);
  }
}

/** Read from the kernel's list, for to connect would be to be a client. */
export function isListening(path: string): boolean {
  const acceptsConnections = 0x1_0000;
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => {
      const [, , , flags = '', , , , bound] = line.trim().split(/\s+/);
      return bound === path && (Number.parseInt(flags, 16) & acceptsConnections) !== 0;
    });
}

export class Lab {
  readonly os: Os;
  readonly tree: QemuTree;
  #bench: Bench | undefined;
  #qemus: Qemu[] = [];
  #taps: Tap[] = [];
  #servers: Running[] = [];
  /** Keeps what passed through the taps of this lab, by name. */
  readonly recordings = new Map<string, readonly Seen[]>();

  constructor(os: Os, tree: QemuTree) {
    this.os = os;
    this.tree = tree;
  }

  get bench(): Bench {
    this.#bench ??= new Bench();
    return this.#bench;
  }

  /** A socket path, out of the way of the brokers that `lessor` looks for. */
  path(name: string): string {
    const folder = join(this.bench.directory, 'wires');
    mkdirSync(folder, { recursive: true });
    return join(folder, name);
  }

  /** Starts `lessor` and waits until its socket is there. */
  async server(words: readonly string[], socketPath: string): Promise<Running> {
    const server = this.bench.start([...words]);
    this.#servers.push(server);
    let isOver = false;
    server.finished.then(
      () => {
        isOver = true;
      },
      () => undefined,
    );
    await eventually(() => {
      if (isOver) throw new Error(`lessor ${words.join(' ')}: ${server.stderr}`);
      return isListening(socketPath);
    }, `${socketPath} to listen`);
    return server;
  }

  /** A tap on a server; what passes it is kept under `name`, unless it shows nothing new. */
  tap(name: string, target: string, isKept = true): Tap {
    const tap = new Tap(this.os, this.path(`${name}.tap`), target);
    this.#taps.push(tap);
    if (isKept) this.recordings.set(name, tap.seen);
    return tap;
  }

  async qemu(options: QemuOptions): Promise<Qemu> {
    const qemu = await Qemu.start(this.tree, options);
    this.#qemus.push(qemu);
    return qemu;
  }

  /** What QEMUs and servers wrote, to explain a failure. */
  complaints(): string {
    const texts = [...this.#qemus, ...this.#servers].map(({ stderr }) => stderr.trim());
    return texts.filter((text) => text !== '').join('\n');
  }

  async clear(): Promise<void> {
    for (const qemu of this.#qemus) qemu.kill();
    await Promise.all(this.#qemus.map(({ exited }) => exited));
    for (const tap of this.#taps) tap[Symbol.dispose]();
    await this.#bench?.clear();
    this.#qemus = [];
    this.#taps = [];
    this.#servers = [];
    this.#bench = undefined;
  }
}
