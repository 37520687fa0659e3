// A device with every feature, that now and then waits, refuses, or reaches for its client.
import { OsError } from '../../src/base/errors.js';
import { FullEndpoint } from '../../src/vfio-user/testing/full-endpoint.js';
import type { World } from '../../src/vfio-user/testing/world.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

const refusals = ['EIO', 'EEXIST', 'ENOENT', 'ENOSPC', 'EBUSY'] as const;

function outcome(error: unknown): string {
  const { code, errno } = error as { code?: string; errno?: string };
  return code ?? errno ?? String(error);
}

/** All share it: what is in it does not matter, and it is large. */
let sharedMemory: readonly Uint8Array[] | undefined;

export class FuzzEndpoint extends FullEndpoint {
  readonly #random: Random;
  readonly #tally: Tally;

  constructor(world: World, random: Random, tally: Tally) {
    super(world);
    this.#random = random;
    this.#tally = tally;
    this.before = (call) => this.#mood(call);
  }

  override get memory(): readonly Uint8Array[] {
    sharedMemory ??= super.memory;
    return sharedMemory;
  }

  #mood(call: string): void | Promise<void> {
    const random = this.#random;
    if (random.percent(4)) this.#reach(random.percent(50));
    if (random.percent(5)) throw new OsError(random.pick(refusals), call);
    if (!random.percent(15)) return;
    const fails = random.percent(10);
    return new Promise((resolve, reject) => {
      setImmediate(() => (fails ? reject(new OsError('EIO', call)) : resolve()));
    });
  }

  /** A message to the client, without waiting for it here. */
  #reach(isRead: boolean): void {
    const { client } = this;
    if (client === undefined) return;
    const iova = BigInt(this.#random.pick([0, 0x1000, 0x1_0000, 0x1_0ff0, 0x2_0000]));
    const length = this.#random.pick([1, 4, 16, 64, 4096]);
    const row = `server ${isRead ? 'dmaRead' : 'dmaWrite'}`;
    const done = isRead
      ? client.dmaRead(iova, length)
      : client.dmaWrite(iova, new Uint8Array(length));
    done.then(
      () => this.#tally.add(row, 'ok'),
      (error: unknown) => this.#tally.add(row, outcome(error)),
    );
  }
}
