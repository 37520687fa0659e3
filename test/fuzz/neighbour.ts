// A client and a server on real sockets that have nothing to do with the attack beside them.
import { systemClock } from '../../src/os/clock.js';
import { connectVfioUser, type VfioUserClient } from '../../src/vfio-user/client.js';
import { serveVfioUser } from '../../src/vfio-user/server.js';
import { TestEndpoint } from '../../src/vfio-user/testing/endpoint.js';
import { kernelWorld } from '../../src/vfio-user/testing/world.js';

const pauseMs = 5;

export class Neighbour {
  requests = 0;
  slowestMs = 0;
  readonly #client: VfioUserClient;
  readonly #asking: Promise<void>;
  #isOver = false;

  constructor(client: VfioUserClient) {
    this.#client = client;
    this.#asking = this.#ask();
  }

  static async start(): Promise<Neighbour> {
    const world = kernelWorld();
    const [near, far] = world.pair();
    serveVfioUser(far, new TestEndpoint(world), { clock: systemClock });
    return new Neighbour(await connectVfioUser(near, { clock: systemClock }));
  }

  async #ask(): Promise<void> {
    while (!this.#isOver) {
      const startMs = systemClock.nowMs();
      await this.#client.read32(0, 8);
      this.requests++;
      this.slowestMs = Math.max(this.slowestMs, systemClock.nowMs() - startMs);
      await new Promise<void>((resolve) => void systemClock.after(pauseMs, resolve));
    }
  }

  /** Rejects when a request of its own failed. */
  async stop(): Promise<void> {
    this.#isOver = true;
    try {
      await this.#asking;
    } finally {
      this.#client.close();
    }
  }
}
