// Who pays for pinned pages, as Linux counts locked memory: per user, or per process.

/** A process as far as its locked memory is counted. */
export interface PayingProcess {
  readonly userId: number;
  readonly processId: number;
  /** Soft limit RLIMIT_MEMLOCK, in pages. */
  readonly lockedPagesMax: number;
  /** CAP_IPC_LOCK: what it maps is never counted. */
  readonly mayLockAll: boolean;
  /** CAP_SYS_RESOURCE: may choose how a context counts. */
  readonly mayChooseMode: boolean;
}

/** `user`: against all that the user has locked; `process`: against what the process has. */
export type AccountMode = 'none' | 'user' | 'process';

/** Decided when memory is mapped, and kept for all areas that share it. */
export interface Payer {
  readonly process: PayingProcess;
  readonly mode: AccountMode;
}

/** The locked pages of a whole machine, as far as its contexts share this. */
export class MemoryAccounting {
  readonly #users = new Map<number, number>();
  readonly #processes = new Map<number, number>();

  lockedByUser(userId: number): number {
    return this.#users.get(userId) ?? 0;
  }

  lockedByProcess(processId: number): number {
    return this.#processes.get(processId) ?? 0;
  }

  /** False when it would be over the limit; then nothing is charged. */
  charge({ process, mode }: Payer, pages: number): boolean {
    const counter = this.#counterOf(mode);
    if (counter === undefined || pages === 0) return true;
    const key = mode === 'user' ? process.userId : process.processId;
    const locked = (counter.get(key) ?? 0) + pages;
    if (locked > process.lockedPagesMax) return false;
    counter.set(key, locked);
    return true;
  }

  uncharge({ process, mode }: Payer, pages: number): void {
    const counter = this.#counterOf(mode);
    if (counter === undefined) return;
    const key = mode === 'user' ? process.userId : process.processId;
    const left = (counter.get(key) ?? 0) - pages;
    if (left > 0) counter.set(key, left);
    else counter.delete(key);
  }

  #counterOf(mode: AccountMode): Map<number, number> | undefined {
    if (mode === 'none') return undefined;
    return mode === 'user' ? this.#users : this.#processes;
  }
}
