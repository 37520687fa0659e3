// The INTx pin as VFIO shows it: a level that masks itself with every signal. Pure.

/** Why the pin may not signal, apart from its mask. */
export interface PinGate {
  /** COMMAND forbids it, or MSI or MSI-X is on. */
  readonly isBlocked: boolean;
}

export class IntxPin {
  readonly #gate: PinGate;
  readonly #signal: () => void;
  #isHigh = false;
  #isBound = false;
  #isMasked = false;

  /** @param signal - Tells the client, once per call. */
  constructor(gate: PinGate, signal: () => void) {
    this.#gate = gate;
    this.#signal = signal;
  }

  get isHigh(): boolean {
    return this.#isHigh;
  }

  get isMasked(): boolean {
    return this.#isMasked;
  }

  /** The device drives the pin. */
  setLevel(isHigh: boolean): void {
    this.#isHigh = isHigh;
    this.update();
  }

  /** A descriptor in place of another keeps the mask; the first one begins without. */
  setBound(isBound: boolean): void {
    if (!this.#isBound || !isBound) this.#isMasked = false;
    this.#isBound = isBound;
    this.update();
  }

  /** The client masks, or is ready for the next signal. */
  setMasked(isMasked: boolean): void {
    this.#isMasked = isMasked;
    this.update();
  }

  /** Signals, and masks, when the level is high and nothing is in the way. */
  update(): void {
    if (!this.#isHigh || !this.#isBound || this.#isMasked || this.#gate.isBlocked) return;
    this.#isMasked = true;
    this.#signal();
  }
}
