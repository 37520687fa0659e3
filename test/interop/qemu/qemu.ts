// One QEMU without a guest: qtest drives it, QMP sits beside. Its control connections are
// descriptors it inherits, so there are no paths to wait for or to clean up.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { QemuTree } from '../../tree/qemu-tree.js';
import { Qmp } from './qmp.js';
import { Qtest } from './qtest.js';

export interface QemuOptions {
  /**
   * `shared`: memory that QEMU can pass by descriptor. `private`: it cannot, and the device must
   * ask for every byte by message.
   */
  readonly memory: 'shared' | 'private';
  /** Sockets of vfio-user servers, by slot of the root bus. */
  readonly devices: Readonly<Record<number, string>>;
  /** More properties of every vfio-user device. */
  readonly deviceProperties?: Readonly<Record<string, unknown>>;
}

export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

export const guestMemoryBytes = 128 * 1024 * 1024;

function machineWords({ memory }: QemuOptions): readonly string[] {
  const size = `size=${guestMemoryBytes}`;
  const backend =
    memory === 'shared'
      ? `memory-backend-memfd,id=ram,share=on,${size}`
      : `memory-backend-ram,id=ram,${size}`;
  const chardevs = ['qtest', 'qmp'].flatMap((id, index) => [
    '-chardev',
    `socket,id=${id},fd=${index + 3}`,
  ]);
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-accel', 'qtest'],
    ...['-m', `size=${guestMemoryBytes}B`, '-object', backend],
    ...['-machine', 'q35,memory-backend=ram', ...chardevs],
    ...['-qtest', 'chardev:qtest', '-qtest-log', '/dev/null', '-qmp', 'chardev:qmp'],
  ];
}

function deviceWords({ devices, deviceProperties = {} }: QemuOptions): readonly string[] {
  return Object.entries(devices).flatMap(([slot, path]) => {
    const socket = { type: 'unix', path };
    const addr = Number(slot).toString(16);
    const device = { driver: 'vfio-user-pci', id: `dev${slot}`, addr, socket, ...deviceProperties };
    return ['-device', JSON.stringify(device)];
  });
}

export class Qemu {
  readonly qtest: Qtest;
  readonly qmp: Qmp;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  #stderr = '';
  #exit: Exit | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.qtest = new Qtest(child.stdio[3] as Duplex);
    this.qmp = new Qmp(child.stdio[4] as Duplex);
    child.stderr?.on('data', (bytes) => {
      this.#stderr += String(bytes);
    });
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => {
        this.#exit = { status, signal, stderr: this.#stderr };
        resolve(this.#exit);
      });
    });
    this.exited.catch(() => undefined);
  }

  /** Starts QEMU. @throws Error with what it wrote when a device could not be realised. */
  static async start(tree: QemuTree, options: QemuOptions): Promise<Qemu> {
    const [loader = '', ...args] = tree.command;
    const words = [...args, ...machineWords(options), ...deviceWords(options)];
    const child = spawn(loader, words, {
      env: { ...process.env, ...tree.env },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    });
    const qemu = new Qemu(child);
    try {
      await qemu.qmp.command('qmp_capabilities');
    } catch (error) {
      qemu.kill();
      const { status, stderr } = await qemu.exited;
      throw new Error(`QEMU ended with ${status}: ${stderr.trim()}`, { cause: error });
    }
    return qemu;
  }

  get isRunning(): boolean {
    return this.#exit === undefined;
  }

  get stderr(): string {
    return this.#stderr;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Ends it as an operator does. */
  async quit(): Promise<Exit> {
    await this.qmp.command('quit').catch(() => undefined);
    return this.exited;
  }
}
