// A broker of EDU, and processes that ask it for the device itself.
import { fileURLToPath } from 'node:url';
import { AssertionFailure } from '../../../src/base/errors.js';
import { type AdminClient, type Client, connect, connectAdmin } from '../../../src/client/index.js';
import { adminPathOf } from '../../../src/client/run-directory.js';
import { nodeHolders } from '../../../src/function/vfio/node-holders.js';
import { Bench, eventually, type Running } from '../../support/lessor.js';
import { bindEdu, eduAddress } from '../edu-device.js';
import type { Held } from './held.js';

const holderProgram = fileURLToPath(new URL('./holder.js', import.meta.url));

/** @throws AssertionFailure unless both look the same as JSON. */
export function expectSame(what: string, actual: unknown, wanted: unknown): void {
  const [is, should] = [actual, wanted].map((value) => JSON.stringify(value));
  if (is !== should) throw new AssertionFailure(`${what}: ${is}, not ${should}`);
}

/** A holder, and what it said. */
export interface Holder {
  readonly process: Running;
  readonly held: Held;
}

interface StageParts {
  /** The device's character device. */
  readonly node: string;
  readonly bench: Bench;
  readonly broker: Running;
  readonly client: Client;
  readonly admin: AdminClient;
}

export class Stage implements AsyncDisposable {
  readonly #parts: StageParts;

  private constructor(parts: StageParts) {
    this.#parts = parts;
  }

  get client(): Client {
    return this.#parts.client;
  }

  get admin(): AdminClient {
    return this.#parts.admin;
  }

  /** @param switches - Of `lessor serve`. */
  static async open(switches: readonly string[]): Promise<Stage> {
    const node = bindEdu();
    const bench = new Bench();
    const socket = `${bench.directory}/edu.sock`;
    const words = ['--socket', socket, 'serve', '--json', '--function', eduAddress];
    try {
      const broker = bench.start([...words, '--driver', 'edu', ...switches]);
      await broker.saying(/\n/);
      const client = await connect({ socket });
      const admin = await connectAdmin({ socket: adminPathOf(socket) });
      return new Stage({ node, bench, broker, client, admin });
    } catch (error) {
      await bench.clear();
      throw error;
    }
  }

  /** A process with the device. @param manner - `stays`: it does not end by itself. */
  async holder(manner = 'leaves'): Promise<Holder> {
    const program = [process.execPath, holderProgram];
    const holder = this.#parts.bench.start([this.client.socketPath, manner], {
      program,
      talks: true,
    });
    const [line] = await holder.saying(/\{.*\}\n/);
    return { process: holder, held: JSON.parse(line) as Held };
  }

  /** The slice is free, nothing is in quarantine, and only the broker has the device open. */
  async expectFree(): Promise<void> {
    const states = await eventually(async () => {
      const { slices } = await this.client.info();
      const now = slices.map(({ state }) => state);
      return now.includes('leased') ? undefined : now;
    });
    expectSame('slices', states, ['free']);
    this.expectAlone();
  }

  /** Only the broker has the device open. */
  expectAlone(): void {
    const pids = nodeHolders([this.#parts.node]).map(({ pid }) => pid);
    expectSame('who has the device open', pids, [this.#parts.broker.pid]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { client, admin, broker, bench } = this.#parts;
    client.close();
    admin.close();
    await broker.stop();
    await bench.clear();
  }
}
