// The worker's side of the mailbox: takes up requests in order, between steps of the device.
import { unreachable } from '../../base/errors.js';
import type { PciDevice, Width } from '../../device/types.js';
import { type ControlBlock, operation, slotCount, slotState, slotWord } from './control-block.js';

export class MailboxServer {
  readonly #control: ControlBlock;
  readonly #device: PciDevice;
  readonly #notify: () => void;
  readonly #onFailure: (error: unknown) => void;
  #next = 0;
  #pendingCount = 0;

  /** @param onFailure - Called when a promise of the device rejects: a bug in the device. */
  constructor(
    control: ControlBlock,
    device: PciDevice,
    notify: () => void,
    onFailure: (error: unknown) => void,
  ) {
    this.#control = control;
    this.#device = device;
    this.#notify = notify;
    this.#onFailure = onFailure;
  }

  /** Accesses that the device answers later. They need the event loop to turn. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  get hasRequest(): boolean {
    const index = this.#control.slot(this.#next) + slotWord.state;
    return Atomics.load(this.#control.words, index) === slotState.posted;
  }

  /** Serves what is there. @returns True when there was something. */
  poll(): boolean {
    if (!this.hasRequest) return false;
    for (let served = 0; served < slotCount && this.hasRequest; served += 1) {
      const slot = this.#next;
      this.#next = (slot + 1) % slotCount;
      this.#serve(slot);
    }
    this.#notify();
    return true;
  }

  #serve(slot: number): void {
    const outcome = this.#access(this.#control.slot(slot));
    if (!(outcome instanceof Promise)) {
      this.#answer(slot, outcome);
      return;
    }
    this.#pendingCount += 1;
    // A slot under way must not be taken up twice when the ring comes round to it.
    Atomics.store(this.#control.words, this.#control.slot(slot), slotState.free);
    outcome.then(
      (value) => {
        this.#pendingCount -= 1;
        this.#answer(slot, value);
        this.#notify();
      },
      (error) => this.#onFailure(error),
    );
  }

  #access(start: number): unknown {
    const { words } = this.#control;
    const region = words[start + slotWord.region]!;
    const width = words[start + slotWord.width] as Width;
    const low = words[start + slotWord.offsetLow]! >>> 0;
    const offsetBytes = low + words[start + slotWord.offsetHigh]! * 2 ** 32;
    const kind = words[start + slotWord.operation]!;
    if (kind === operation.read) return this.#device.read(region, offsetBytes, width);
    if (kind === operation.reset) return this.#device.reset();
    if (kind !== operation.write) return unreachable(kind as never);
    const valueLow = words[start + slotWord.valueLow]! >>> 0;
    const valueHigh = words[start + slotWord.valueHigh]! >>> 0;
    const value = width === 8 ? (BigInt(valueHigh) << 32n) | BigInt(valueLow) : valueLow;
    return this.#device.write(region, offsetBytes, width, value);
  }

  /** @param value - What the device returned; nothing of use from a write. */
  #answer(slot: number, value: unknown): void {
    const { words } = this.#control;
    const start = this.#control.slot(slot);
    if (typeof value === 'bigint') {
      words[start + slotWord.valueLow] = Number(value & 0xffff_ffffn) | 0;
      words[start + slotWord.valueHigh] = Number((value >> 32n) & 0xffff_ffffn) | 0;
    } else {
      words[start + slotWord.valueLow] = Number(value ?? 0) | 0;
      words[start + slotWord.valueHigh] = 0;
    }
    Atomics.store(words, start + slotWord.state, slotState.done);
  }
}
