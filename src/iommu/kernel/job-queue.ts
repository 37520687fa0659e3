// Which piece of work comes next: address spaces take turns, piece by piece, and what takes memory
// away goes first. Pure.

/** Something to do in an address space, a piece at a time. */
export interface Job {
  readonly spaceId: number;
  /** It takes memory away. */
  readonly isRemoval: boolean;
  /** The addresses it touches. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** How many jobs of an address space are looked at for one that may overtake. */
const lookAheadMax = 64;

export class JobQueue<J extends Job> {
  /** The space whose turn it is comes first. */
  readonly #jobs = new Map<number, J[]>();

  add(job: J): void {
    const jobs = this.#jobs.get(job.spaceId);
    if (jobs === undefined) this.#jobs.set(job.spaceId, [job]);
    else jobs.push(job);
  }

  /** Takes out all jobs of an address space. */
  dropAll(spaceId: number): J[] {
    const jobs = this.#jobs.get(spaceId) ?? [];
    this.#jobs.delete(spaceId);
    return jobs;
  }

  /**
   * What a piece is to be done of: a removal when there is one that nothing before it in its
   * address space touches, else the first job of the next address space. It stays in the queue.
   */
  next(): J | undefined {
    const job = this.#nextRemoval() ?? this.#firstOfNext();
    if (job !== undefined) this.#moveBack(job.spaceId);
    return job;
  }

  /** Takes out a job that is done; false when it was dropped. */
  remove(job: J): boolean {
    const jobs = this.#jobs.get(job.spaceId);
    const index = jobs?.indexOf(job) ?? -1;
    if (index < 0) return false;
    jobs!.splice(index, 1);
    if (jobs!.length === 0) this.#jobs.delete(job.spaceId);
    return true;
  }

  #nextRemoval(): J | undefined {
    for (const jobs of this.#jobs.values()) {
      const job = firstFreeRemoval(jobs);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  #firstOfNext(): J | undefined {
    for (const jobs of this.#jobs.values()) return jobs[0];
    return undefined;
  }

  #moveBack(spaceId: number): void {
    const jobs = this.#jobs.get(spaceId)!;
    this.#jobs.delete(spaceId);
    this.#jobs.set(spaceId, jobs);
  }
}

function firstFreeRemoval<J extends Job>(jobs: readonly J[]): J | undefined {
  const count = Math.min(jobs.length, lookAheadMax);
  for (let index = 0; index < count; index++) {
    const job = jobs[index]!;
    if (!job.isRemoval) continue;
    const before = jobs.slice(0, index);
    if (!before.some(({ start, end }) => start < job.end && job.start < end)) return job;
  }
  return undefined;
}
