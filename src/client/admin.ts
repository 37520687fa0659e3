// A client of the admin socket: what the operator of a broker may do.
import { LessorError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import { VarlinkClient } from '../varlink/client.js';
import type { InspectReply } from '../varlink/interface.js';
import { connectTo } from './client.js';

const service = 'io.lessor.Admin';
const answerMs = 30_000;

export interface Inspection {
  /** The broker's own /proc/self/fd, and /proc/self/maps. The caller owns both. */
  readonly fdDirectory: Fd;
  readonly maps: Fd;
  readonly iovaBytes: number;
  readonly pasids: number;
  readonly processes: readonly number[];
  readonly leases: number;
}

export class AdminClient implements Disposable {
  readonly #connection: VarlinkClient;

  constructor(os: Os, path: string) {
    this.#connection = new VarlinkClient(connectTo(os, path), os.clock);
  }

  /** Ends a lease against its holder's will, after `graceMs`. */
  async revoke(id: string, options: { reason?: string; graceMs?: number } = {}): Promise<void> {
    await this.#call('Revoke', { id, ...options });
  }

  /** Ends a lease in its holder's place. Resolves when it was reclaimed. */
  async release(id: string): Promise<void> {
    await this.#call('Release', { id });
  }

  /** Frees a slice in quarantine, on the operator's word. */
  async releaseQuarantine(slice: string): Promise<void> {
    await this.#call('ReleaseQuarantine', { slice });
  }

  /** Resets the function; every lease is reclaimed. @returns The new epoch. */
  async reset(reason = ''): Promise<number> {
    const { epoch } = await this.#call<{ epoch: number }>('Reset', { reason });
    return epoch;
  }

  /** No new leases; resolves when none is left. */
  async drain(deadlineMs?: number): Promise<void> {
    await this.#call('Drain', deadlineMs === undefined ? {} : { deadlineMs }, deadlineMs);
  }

  /** Ends the broker. */
  async shutdown(): Promise<void> {
    await this.#call('Shutdown', {});
  }

  /** Makes a slice misbehave; only with `--fault-injection`. */
  async inject(slice: string, fault: string, value: number): Promise<void> {
    await this.#call('Inject', { slice, fault, value });
  }

  /** What the broker holds, for a count from outside. */
  async inspect(): Promise<Inspection> {
    const reply = await this.#connection.call<InspectReply>(
      `${service}.Inspect`,
      {},
      { deadlineMs: answerMs },
    );
    const { fdDirectory, maps, ...rest } = reply.parameters;
    const [directory, mappings] = [reply.fds[fdDirectory], reply.fds[maps]];
    if (directory === undefined || mappings === undefined) {
      throw new LessorError('FRAME_MALFORMED', 'Inspect came without its descriptors');
    }
    // The broker closes its own two once they are sent; an answer to the next call is later.
    await this.#connection.call('org.varlink.service.GetInfo', {}, { deadlineMs: answerMs });
    return { ...rest, fdDirectory: directory, maps: mappings };
  }

  close(): void {
    this.#connection[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #call<T>(method: string, parameters: object, extraMs = 0): Promise<T> {
    const options = { deadlineMs: answerMs + extraMs };
    const reply = await this.#connection.call<T>(`${service}.${method}`, parameters, options);
    return reply.parameters;
  }
}
