// The thread's side: takes requests, does them piece by piece, answers each.
import { LessorError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import { type AddressSpaces, openAddressSpaces } from '../address-space.js';
import type { IommuDevice, SpaceCalls } from '../iommufd.js';
import type { DmaMapping } from '../types.js';
import { JobQueue } from './job-queue.js';
import { CloseJob, MapJob, type Space, type SpaceJob, UnmapJob } from './space-jobs.js';
import {
  type RequestMessage,
  type SpaceRequest,
  toWords,
  type WorkerMessage,
} from './worker-messages.js';

export interface SpaceServerOptions {
  readonly iommufd: SpaceCalls;
  /** Not owned. */
  readonly device: IommuDevice;
  /** Names a descriptor of the main thread without owning it. */
  readonly borrow: (descriptor: number) => Fd;
  readonly post: (message: WorkerMessage) => void;
}

export class SpaceServer {
  readonly #options: SpaceServerOptions;
  readonly #spaces: AddressSpaces;
  readonly #open = new Map<number, Space>();
  readonly #queue = new JobQueue<SpaceJob>();
  #running = false;

  constructor(options: SpaceServerOptions) {
    this.#options = options;
    const { iommufd, device } = options;
    // Maps arrive here in pieces; the main thread counts whole ones.
    const mapsMax = Number.MAX_SAFE_INTEGER;
    this.#spaces = openAddressSpaces({ iommufd, device, mapsMax });
  }

  /** Takes a request; the answer is posted when it is done. */
  take({ callId, request }: RequestMessage): void {
    const reply = (error?: unknown): void => {
      const words = error === undefined ? undefined : toWords(error);
      this.#options.post({ type: 'done', callId, error: words });
    };
    try {
      this.#start(request, reply);
    } catch (error) {
      reply(error);
    }
  }

  #start(request: SpaceRequest, reply: (error?: unknown) => void): void {
    if (request.type === 'end') {
      void this.#spaces[Symbol.asyncDispose]().then(() => reply(), reply);
      return;
    }
    const { spaceId } = request;
    if (request.type === 'open') {
      const share = this.#spaces.open({ pasid: request.pasid });
      const mappings = new Map<number, readonly DmaMapping[]>();
      this.#open.set(spaceId, { id: spaceId, share, mappings, pieces: new Set(), closing: false });
      reply();
      return;
    }
    const space = this.#open.get(spaceId);
    if (space === undefined || space.closing) {
      throw new LessorError('LEASE_ENDED', 'the address space is gone');
    }
    this.#add(this.#jobFor(space, request, reply));
  }

  #jobFor(
    space: Space,
    request: Exclude<SpaceRequest, { type: 'open' | 'end' }>,
    reply: (error?: unknown) => void,
  ): SpaceJob {
    if (request.type === 'map') {
      const memory = request.fd === undefined ? undefined : this.#options.borrow(request.fd);
      return new MapJob(space, request, memory, reply);
    }
    if (request.type === 'unmap') {
      const pieces = space.mappings.get(request.mappingId);
      if (pieces === undefined) throw new LessorError('IOVA_NOT_MAPPED', 'no such mapping');
      space.mappings.delete(request.mappingId);
      return new UnmapJob(space, pieces, reply);
    }
    space.closing = true;
    for (const job of this.#queue.dropAll(space.id)) {
      job.reply(new LessorError('LEASE_ENDED', 'the address space is gone'));
    }
    return new CloseJob(space, (error) => {
      this.#open.delete(space.id);
      reply(error);
    });
  }

  #add(job: SpaceJob): void {
    this.#queue.add(job);
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => void this.#run());
  }

  /** Requests that arrive meanwhile are seen between any two pieces. */
  async #run(): Promise<void> {
    for (let job = this.#queue.next(); job !== undefined; job = this.#queue.next()) {
      await this.#step(job);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#running = false;
  }

  async #step(job: SpaceJob): Promise<void> {
    let error: unknown;
    try {
      if (!(await job.step())) return;
    } catch (thrown) {
      error = thrown;
    }
    // Who was dropped meanwhile has its answer.
    if (this.#queue.remove(job)) job.reply(error);
  }
}
