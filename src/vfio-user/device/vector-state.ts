// Vectors of MSI or MSI-X: a masked one remembers that it fired and fires when it is unmasked.

export interface VectorRules {
  /** By the function's registers: mask bits in the MSI-X table or MSI capability. */
  isMasked(vector: number): boolean;
  isBound(vector: number): boolean;
  signal(vector: number): void;
}

export class VectorState {
  readonly #rules: VectorRules;
  /** Masked by the client itself, beside the registers. */
  readonly #masked: Uint8Array;
  readonly #pending: Uint8Array;

  constructor(count: number, rules: VectorRules) {
    this.#rules = rules;
    this.#masked = new Uint8Array(count);
    this.#pending = new Uint8Array(count);
  }

  get count(): number {
    return this.#pending.length;
  }

  isPending(vector: number): boolean {
    return this.#pending[vector] === 1;
  }

  setPending(vector: number, isPending: boolean): void {
    this.#pending[vector] = isPending ? 1 : 0;
  }

  /** The device fires a vector. Out of range it is silent. */
  fire(vector: number): void {
    if (!(vector in this.#pending)) return;
    if (this.#isMasked(vector)) this.#pending[vector] = 1;
    else if (this.#rules.isBound(vector)) this.#rules.signal(vector);
  }

  setMasked(vectors: readonly number[], isMasked: boolean): void {
    for (const vector of vectors) this.#masked[vector] = isMasked ? 1 : 0;
    if (!isMasked) this.update();
  }

  /** A mask of the registers may have gone: what is pending and not masked fires now. */
  update(): void {
    for (let vector = this.#pending.indexOf(1); vector >= 0; ) {
      if (!this.#isMasked(vector)) {
        this.#pending[vector] = 0;
        if (this.#rules.isBound(vector)) this.#rules.signal(vector);
      }
      vector = this.#pending.indexOf(1, vector + 1);
    }
  }

  /** Nothing is pending, and nothing masked by the client. */
  clear(): void {
    this.#masked.fill(0);
    this.#pending.fill(0);
  }

  clearPending(): void {
    this.#pending.fill(0);
  }

  #isMasked(vector: number): boolean {
    return this.#masked[vector] === 1 || this.#rules.isMasked(vector);
  }
}
