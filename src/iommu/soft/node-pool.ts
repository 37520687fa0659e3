// The nodes of all page tables of one function, in one fixed shared buffer. Main thread side:
// who pays for a node, how many entries it holds, and which nodes wait for an acknowledgement.
import { assert, LessorError } from '../../base/errors.js';
import { MiB } from '../../base/units.js';
import type { DmaAccount } from '../types.js';
import { nodeWords } from './table-shape.js';

/** Of one table page. */
export const nodeBytes = nodeWords * 4;

/** Pools up to here cannot fill a huge page. */
const smallPoolBytes = 2 * MiB;

/** The table pages that one user of one address space pays for. */
export class TableCharge {
  #account: DmaAccount | undefined;
  #pages = 0;

  constructor(account: DmaAccount) {
    this.#account = account;
  }

  /** @throws LessorError `QUOTA_EXCEEDED` */
  add(): void {
    const account = this.#account;
    assert(account !== undefined, 'charge after it was written off');
    if (account.tablePages >= account.tablePagesMax) {
      throw new LessorError('QUOTA_EXCEEDED', `more than ${account.tablePagesMax} table pages`);
    }
    account.tablePages += 1;
    this.#pages += 1;
  }

  remove(): void {
    this.#pages -= 1;
    if (this.#account !== undefined) this.#account.tablePages -= 1;
  }

  /** Nodes that others still need are paid by nobody from now on. */
  writeOff(): void {
    if (this.#account !== undefined) this.#account.tablePages -= this.#pages;
    this.#account = undefined;
  }
}

export class NodePool {
  readonly shared: SharedArrayBuffer;
  readonly words: Int32Array;
  /** Valid entries by node. */
  readonly children: Uint16Array;
  readonly #charges: (TableCharge | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #nodeCount: number;
  // Node 0 means none; it stays zero, so that walking into it finds nothing.
  #fresh = 1;
  #retired: number[] = [];

  /**
   * @param lengthBytes - Of the shared buffer; costs nothing until touched. At most 2 GiB.
   * @param advise - Gets what is best in huge pages: a random walk of large tables misses the TLB
   *   less. A pool that can grow large then takes 2 MiB at once.
   */
  constructor(lengthBytes: number, advise?: (words: Int32Array) => void) {
    assert(lengthBytes >= 2 * nodeBytes && lengthBytes <= 2 ** 31, `pool of ${lengthBytes} bytes`);
    this.#nodeCount = Math.floor(lengthBytes / nodeBytes);
    this.shared = new SharedArrayBuffer(this.#nodeCount * nodeBytes);
    this.words = new Int32Array(this.shared);
    this.children = new Uint16Array(this.#nodeCount);
    if (lengthBytes > smallPoolBytes) advise?.(this.words);
  }

  /** Nodes in use or waiting for an acknowledgement. */
  get usedCount(): number {
    return this.#fresh - 1 - this.#free.length;
  }

  /** A node without valid entries. @throws LessorError `QUOTA_EXCEEDED`, `ARENA_FULL` */
  allocate(charge: TableCharge | undefined): number {
    if (this.#free.length === 0 && this.#fresh === this.#nodeCount) {
      throw new LessorError('ARENA_FULL', `all ${this.#nodeCount - 1} table pages are in use`);
    }
    charge?.add();
    const node = this.#free.pop() ?? this.#fresh++;
    this.#charges[node] = charge;
    return node;
  }

  /** Takes an unlinked node out of use; it is free once `release` is called with it. */
  retire(node: number): void {
    assert(this.children[node] === 0, 'retired node with entries');
    this.#retired.push(node);
  }

  /** The nodes retired since the last call, or undefined when there are none. */
  takeRetired(): readonly number[] | undefined {
    if (this.#retired.length === 0) return undefined;
    const nodes = this.#retired;
    this.#retired = [];
    return nodes;
  }

  /** Frees retired nodes. Only after the device acknowledged their removal. */
  release(nodes: readonly number[]): void {
    for (const node of nodes) {
      this.#charges[node]?.remove();
      this.#charges[node] = undefined;
      this.#free.push(node);
    }
  }
}
