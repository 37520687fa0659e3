// Which job is next: every uid in turn, first come first served within one, none over its limit.
import { limits } from '../../base/limits.js';

interface UidLine<T> {
  /** Jobs at a helper, stuck ones included. */
  activeCount: number;
  stuckCount: number;
  readonly waiting: T[];
}

export class WaitingLine<T extends { readonly uid: number }> {
  /** In the order of turns. */
  readonly #lines = new Map<number, UidLine<T>>();

  /** True when another job of this uid may get in line. */
  admits(uid: number): boolean {
    const line = this.#lines.get(uid);
    if (line === undefined) return true;
    // With every helper of a uid stuck, waiting would be in vain.
    if (line.stuckCount >= limits.helperOperationsPerUidMax) return false;
    return line.waiting.length < limits.helperWaitersPerUidMax;
  }

  add(job: T): void {
    const line = this.#lines.get(job.uid) ?? { activeCount: 0, stuckCount: 0, waiting: [] };
    this.#lines.set(job.uid, line);
    line.waiting.push(job);
  }

  /** Takes a job out of line. @returns False when it was not in line any more. */
  remove(job: T): boolean {
    const line = this.#lines.get(job.uid);
    const index = line?.waiting.indexOf(job) ?? -1;
    if (line === undefined || index < 0) return false;
    line.waiting.splice(index, 1);
    this.#forget(job.uid, line);
    return true;
  }

  /** The next job, which is active from now on, until `leave`. */
  take(): T | undefined {
    for (const [uid, line] of this.#lines) {
      if (line.activeCount >= limits.helperOperationsPerUidMax) continue;
      const job = line.waiting.shift();
      if (job === undefined) continue;
      line.activeCount++;
      // Last in the order of turns.
      this.#lines.delete(uid);
      this.#lines.set(uid, line);
      return job;
    }
    return undefined;
  }

  /** How many jobs `take` would give in a row. */
  get runnableCount(): number {
    let count = 0;
    for (const line of this.#lines.values()) {
      const room = limits.helperOperationsPerUidMax - line.activeCount;
      count += Math.min(room, line.waiting.length);
    }
    return count;
  }

  /** An active job's helper is stuck: it stays active until the helper is gone. */
  markStuck(uid: number): void {
    const line = this.#lines.get(uid);
    if (line) line.stuckCount++;
  }

  /** An active job is over. */
  leave(uid: number, wasStuck: boolean): void {
    const line = this.#lines.get(uid);
    if (line === undefined) return;
    line.activeCount--;
    if (wasStuck) line.stuckCount--;
    this.#forget(uid, line);
  }

  /** Empties the line. */
  takeAll(): T[] {
    const all: T[] = [];
    for (const [uid, line] of this.#lines) {
      all.push(...line.waiting.splice(0));
      this.#forget(uid, line);
    }
    return all;
  }

  #forget(uid: number, line: UidLine<T>): void {
    if (line.activeCount === 0 && line.waiting.length === 0) this.#lines.delete(uid);
  }
}
