// Runs a command in a guest that has the host's files, and gives back what became of it:
// `runInVm` to the end, `Guest` for who wants to interrupt it on the way.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { rootPath } from '../tools/root.js';
import { cacheRoot } from '../tree/cache.js';
import { panicIn } from './console.js';
import { Follower } from './follow.js';
import { hiddenFolders, startScript } from './guest-script.js';
import { initramfs } from './initramfs.js';
import { deviceLogVariable, insideVariable } from './inside.js';
import { machineWords, usualMachine, type VmMachine } from './machine.js';
import { type ServedMqdma, startServedMqdma } from './served-mqdma.js';
import { prepareVm, type Vm } from './vm.js';

const usualTimeoutMs = 600_000;
/** How long an interrupted command may take to end before its guest is taken away. */
const graceMs = 10_000;
/** The guest's own limit is behind ours: it counts only when nobody is left to end QEMU. */
const orphanMs = 60_000;
const consoleFd = 3;
const deviceLogName = 'device.log';
const interruptKey = '\x03';
const systemFolders = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];

export interface VmOptions {
  /** Made ready before; else `runInVm` makes it ready, which can take minutes. */
  readonly vm?: Vm;
  readonly machine?: Partial<VmMachine>;
  /**
   * Serve an mqdma on the host for the time of the guest, which has it at `portAddress`; or the one
   * that is served already. Default: none.
   */
  readonly mqdma?: boolean | ServedMqdma;
  /** Where the command runs; the checkout unless said otherwise. */
  readonly cwd?: string;
  /** On top of HOME, PATH, LESSOR_CACHE and every LESSOR_* of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Folders of the host below /tmp, /run or /dev that the command needs. */
  readonly keep?: readonly string[];
  /** From the start of QEMU; ten minutes unless said otherwise. */
  readonly timeoutMs?: number;
  /** Output as it comes. It is in the result all the same. */
  readonly onStdout?: (bytes: Buffer) => void;
  readonly onStderr?: (bytes: Buffer) => void;
  readonly onConsole?: (bytes: Buffer) => void;
  /** Told when making the machine ready takes long. */
  readonly say?: (text: string) => void;
}

/**
 * How it ended. `exited`: the command did, with `status`. `interrupted`: on our wish, without a
 * status. `panicked`: the guest's kernel could not go on. `timed-out`: it took too long. `lost`:
 * QEMU ended and left no status.
 */
export type VmEnd = 'exited' | 'interrupted' | 'panicked' | 'timed-out' | 'lost';

export interface VmResult {
  readonly end: VmEnd;
  /** Of the command, 128 and the signal when one ended it; undefined unless `exited`. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** All that the guest's kernel said: DMAR faults, warnings, a panic. */
  readonly console: string;
  /** What the server of `VmOptions.mqdma` said: DMA that it refused. */
  readonly deviceLog: string;
  /** What QEMU itself complained of. */
  readonly complaints: string;
  readonly elapsedMs: number;
}

function guestEnv(more: Readonly<Record<string, string>>): Record<string, string> {
  const ours = Object.entries(process.env).filter(([name]) => name.startsWith('LESSOR_'));
  const folders = [dirname(process.execPath), ...(process.env.PATH ?? '').split(delimiter)];
  return {
    HOME: '/tmp',
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    PATH: [...new Set([...folders, ...systemFolders])].filter(Boolean).join(delimiter),
    ...(Object.fromEntries(ours) as Record<string, string>),
    LESSOR_CACHE: cacheRoot(),
    [insideVariable]: '1',
    [deviceLogVariable]: `/run/lessor-vm/share/${deviceLogName}`,
    ...more,
  };
}

/** Fills the folder that the guest reads its task from and leaves its results in. */
function fillShare(share: string, words: readonly string[], options: VmOptions): void {
  const { env = {}, keep = [], timeoutMs = usualTimeoutMs } = options;
  const checkout = realpathSync(rootPath('.'));
  const cwd = realpathSync(resolve(options.cwd ?? checkout));
  // Node as a distribution unpacks it: bin/node beside lib.
  const node = dirname(dirname(realpathSync(process.execPath)));
  const kept = hiddenFolders([
    ...[checkout, cwd, node, cacheRoot()],
    ...keep.map((path) => realpathSync(path)),
  ]);
  writeFileSync(join(share, 'keep'), kept.map((path) => `${path}\n`).join(''));
  writeFileSync(join(share, 'start'), startScript({ words, cwd, env: guestEnv(env) }));
  writeFileSync(join(share, 'seconds'), `${Math.ceil((timeoutMs + orphanMs) / 1000)}\n`);
  for (const name of ['stdout', 'stderr', deviceLogName]) writeFileSync(join(share, name), '');
}

function statusIn(share: string): number | undefined {
  try {
    return Number(readFileSync(join(share, 'status'), 'utf8'));
  } catch {
    return undefined;
  }
}

/** With the served device already there. */
type GuestOptions = Omit<VmOptions, 'mqdma'> & { readonly mqdma?: ServedMqdma };

/** A command that runs in a guest. */
export class Guest {
  readonly result: Promise<VmResult>;
  readonly #child: ChildProcess;
  readonly #console: Duplex;
  readonly #startMs = performance.now();
  #killedFor: 'interrupted' | 'timed-out' | undefined;
  #graceTimer: NodeJS.Timeout | undefined;

  /** Boots a guest for a command. */
  constructor(vm: Vm, words: readonly string[], options: GuestOptions = {}) {
    const folder = mkdtempSync(join(tmpdir(), 'lessor-vm-'));
    try {
      fillShare(folder, words, options);
      const initramfsPath = join(folder, 'initramfs');
      writeFileSync(initramfsPath, initramfs(vm.kernel));
      const [loader = '', ...args] = vm.qemu.command;
      const { mqdma } = options;
      const machine = {
        ...usualMachine,
        ...options.machine,
        ...(mqdma === undefined ? {} : { behindPort: mqdma.socketPath }),
      };
      const files = {
        bzImage: vm.kernel.bzImage,
        initramfs: initramfsPath,
        share: folder,
        consoleFd,
      };
      this.#child = spawn(loader, [...args, ...machineWords(machine, files)], {
        env: { ...process.env, ...vm.qemu.env },
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
        // Not in our process group: ^C is for the command in the guest, not for QEMU.
        detached: true,
      });
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    this.#console = this.#child.stdio[consoleFd] as Duplex;
    this.result = this.#follow(folder, options);
    this.result.catch(() => undefined);
  }

  /** ^C to the command; the guest goes away when the command does not end soon. */
  interrupt(): void {
    if (this.#graceTimer !== undefined) return;
    this.#console.write(interruptKey);
    this.#graceTimer = setTimeout(() => this.kill(), graceMs);
  }

  /** Takes the guest away. */
  kill(): void {
    this.#kill('interrupted');
  }

  #kill(reason: 'interrupted' | 'timed-out'): void {
    this.#killedFor ??= reason;
    this.#child.kill('SIGKILL');
  }

  async #follow(folder: string, options: GuestOptions): Promise<VmResult> {
    const gathered = {
      stdout: [] as Buffer[],
      stderr: [] as Buffer[],
      console: [] as Buffer[],
      deviceLog: [] as Buffer[],
      complaints: [] as Buffer[],
    };
    const taker =
      (name: keyof typeof gathered, pass?: (bytes: Buffer) => void) =>
      (bytes: Buffer): void => {
        gathered[name].push(bytes);
        pass?.(bytes);
      };
    const followers = [
      new Follower(join(folder, 'stdout'), taker('stdout', options.onStdout)),
      new Follower(join(folder, 'stderr'), taker('stderr', options.onStderr)),
    ];
    this.#console.on('data', taker('console', options.onConsole));
    // QEMU's end can break the line while something is on it.
    this.#console.on('error', () => undefined);
    this.#child.stderr?.on('data', taker('complaints'));
    using _device = options.mqdma?.onSaid(
      taker('deviceLog', (bytes) => appendFileSync(join(folder, deviceLogName), bytes)),
    );
    const timer = setTimeout(() => this.#kill('timed-out'), options.timeoutMs ?? usualTimeoutMs);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#child.once('error', reject);
        this.#child.once('close', () => resolve());
      });
      for (const follower of followers) follower.finish();
      const text = (name: keyof typeof gathered): string => String(Buffer.concat(gathered[name]));
      const status = statusIn(folder);
      return {
        ...this.#ended(status, text('console')),
        stdout: text('stdout'),
        stderr: text('stderr'),
        console: text('console'),
        deviceLog: text('deviceLog'),
        complaints: text('complaints').trim(),
        elapsedMs: performance.now() - this.#startMs,
      };
    } finally {
      clearTimeout(timer);
      clearTimeout(this.#graceTimer);
      rmSync(folder, { recursive: true, force: true });
    }
  }

  #ended(status: number | undefined, console: string): Pick<VmResult, 'end' | 'status'> {
    // A kernel that oopsed after the command's end has not passed either.
    if (panicIn(console) !== undefined) return { end: 'panicked', status: undefined };
    if (status !== undefined) return { end: 'exited', status };
    return { end: this.#killedFor ?? 'lost', status: undefined };
  }
}

const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A signal that ends this process takes its guest along, which would go on for an hour. */
class GuestEnding implements Disposable {
  #guest: Guest | undefined;
  #signal: NodeJS.Signals | undefined;
  readonly #take = (signal: NodeJS.Signals): void => {
    this.#signal = signal;
    this.#guest?.kill();
  };

  constructor() {
    for (const signal of endSignals) process.on(signal, this.#take);
  }

  with(guest: Guest): Promise<VmResult> {
    this.#guest = guest;
    if (this.#signal !== undefined) guest.kill();
    return guest.result;
  }

  /** After everything else is gone: now this process ends as it was told to. */
  [Symbol.dispose](): void {
    for (const signal of endSignals) process.off(signal, this.#take);
    if (this.#signal !== undefined) process.kill(process.pid, this.#signal);
  }
}

/**
 * Runs a command in a guest, as root, on the checkout as it is on the host.
 *
 * @param command - Words, as for `spawn`; no shell looks at them.
 * @throws VmUnavailable when there can be no guest here. How the command ended is in the result.
 */
export async function runInVm(
  command: readonly string[],
  options: VmOptions = {},
): Promise<VmResult> {
  const { say = () => undefined, mqdma = false, ...rest } = options;
  const vm = options.vm ?? (await prepareVm({ say }));
  using ending = new GuestEnding();
  if (mqdma === false) return await ending.with(new Guest(vm, command, rest));
  if (mqdma !== true) return await ending.with(new Guest(vm, command, { ...rest, mqdma }));
  await using served = await startServedMqdma();
  return await ending.with(new Guest(vm, command, { ...rest, mqdma: served }));
}
